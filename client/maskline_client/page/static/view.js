// Which part of the picture is looked at: zoom and move by keys, buttons, wheel and pointer.

const MOST = 40; // times the whole picture
const STEP = 1.4;

/**
 * The view of a canvas; `changed` is called when it has to be drawn anew, `pointed` with pixels of the image or null,
 * `pressed` when what is pointed at is clicked, and not at the end of a move.
 */
export class View {
  constructor(canvas, changed, pointed, pressed) {
    [this.canvas, this.changed, this.zoom] = [canvas, changed, 1];
    [this.middleX, this.middleY] = [0.5, 0.5]; // of the canvas, as a share of the image
    this.size = { width: 1, height: 1 };
    const dragged = this.#dragging();
    canvas.addEventListener("pointermove", (event) => dragged(event) || pointed(this.#pixel(event)));
    canvas.addEventListener("pointerleave", () => pointed(null));
    canvas.addEventListener("click", () => this.moved || pressed());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.zoom === 1) return; // the page scrolls
      event.preventDefault();
      this.by(event.deltaY < 0 ? STEP : 1 / STEP, this.#pixel(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.fit()).observe(canvas.parentElement);
  }

  /** Show an image of another size, whole. */
  of(size) {
    this.size = size;
    this.whole();
  }

  whole() {
    [this.zoom, this.middleX, this.middleY] = [1, 0.5, 0.5];
    this.fit();
  }

  /** Zoom, and keep a pixel of the image where it is. */
  by(times, pixel = null) {
    const zoom = Math.min(MOST, Math.max(1, this.zoom * times));
    if (pixel) {
      const kept = this.zoom / zoom;
      this.middleX = pixel.x / this.size.width + (this.middleX - pixel.x / this.size.width) * kept;
      this.middleY = pixel.y / this.size.height + (this.middleY - pixel.y / this.size.height) * kept;
    }
    this.zoom = zoom;
    this.fit();
  }

  /** Fit the canvas to the page and the view to the canvas. */
  fit() {
    const { width, height } = this.size, room = this.canvas.parentElement;
    const wide = room.clientWidth, high = Math.max(160, Math.min(window.innerHeight * 0.62, wide * 1.6));
    if (!wide) return;
    const across = Math.min(wide / width, high / height), dots = window.devicePixelRatio;
    const [cssWide, cssHigh] = [Math.max(width * across, Math.min(wide, 48)), Math.max(height * across, 48)];
    [this.canvas.style.width, this.canvas.style.height] = [`${cssWide}px`, `${cssHigh}px`];
    [this.canvas.width, this.canvas.height] = [Math.round(cssWide * dots), Math.round(cssHigh * dots)];
    const half = 0.5 / this.zoom;
    [this.middleX, this.middleY] = [this.middleX, this.middleY].map((at) => Math.min(1 - half, Math.max(half, at)));
    this.scale = across * dots * this.zoom;
    this.x = this.canvas.width / 2 - this.middleX * width * this.scale;
    this.y = this.canvas.height / 2 - this.middleY * height * this.scale;
    this.canvas.classList.toggle("closer", this.zoom > 1);
    this.changed();
  }

  #pixel(event) {
    const dots = window.devicePixelRatio;
    return { x: (event.offsetX * dots - this.x) / this.scale, y: (event.offsetY * dots - this.y) / this.scale };
  }

  #move(x, y) { // px of the canvas
    this.middleX -= x / this.scale / this.size.width;
    this.middleY -= y / this.scale / this.size.height;
    this.fit();
  }

  /** A function that moves the picture with a pressed pointer, and says whether it did. */
  #dragging() {
    const { canvas } = this;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      [from, this.moved] = [this.zoom > 1 ? event : null, false];
      if (from) canvas.setPointerCapture(event.pointerId);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (from = null));
    return (event) => {
      if (!from) return false;
      const dots = window.devicePixelRatio;
      this.#move((event.clientX - from.clientX) * dots, (event.clientY - from.clientY) * dots);
      [from, this.moved] = [event, true];
      return true;
    };
  }

  #key(event) {
    const { width, height } = this.canvas, part = 0.15;
    const keys = {
      "+": () => this.by(STEP), "=": () => this.by(STEP), "-": () => this.by(1 / STEP), 0: () => this.whole(),
      ArrowLeft: () => this.#move(part * width, 0), ArrowRight: () => this.#move(-part * width, 0),
      ArrowUp: () => this.#move(0, part * height), ArrowDown: () => this.#move(0, -part * height),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }
}
