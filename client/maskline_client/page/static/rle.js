// COCO's compressed run lengths, as maskline_client/rle.py has them, and masks as small pictures.

const OFFSET = 48, MORE = 0x20, SIGN = 0x10, BITS = 5;

/** Lengths of the runs, zeros first, of a mask that is read column by column. */
export function runs(text) {
  const counts = [];
  for (let at = 0; at < text.length;) {
    let number = 0, scale = 1, group;
    do {
      group = text.charCodeAt(at++) - OFFSET;
      number += (group & (MORE - 1)) * scale; // not <<: a run may have more than 32 bits on the way
      scale *= 1 << BITS;
    } while (group & MORE);
    if (group & SIGN) number -= scale;
    if (counts.length > 2) number += counts[counts.length - 2];
    counts.push(number);
  }
  return counts;
}

/**
 * A mask in the window that holds it, every `step`th pixel in both directions.
 *
 * Returns {x, y, width, height, step, inside}: the window's first pixel in steps, its size, and for each of its pixels,
 * row by row, 1 where the object is; null of an empty mask.
 */
export function maskWindow(text, height, step) {
  const spans = [];
  let at = 0, left = Infinity, right = -1, top = Infinity, bottom = -1;
  runs(text).forEach((length, index) => {
    const end = at + length;
    while (index % 2 && at < end) { // each column that the run touches
      const column = Math.floor(at / height), columnEnd = Math.min(end, (column + 1) * height);
      const first = Math.ceil((at - column * height) / step), last = Math.floor((columnEnd - 1 - column * height) / step);
      if (column % step === 0 && first <= last) {
        const x = column / step;
        spans.push([x, first, last]);
        [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, first), Math.max(bottom, last)];
      }
      at = columnEnd;
    }
    at = end;
  });
  if (right < 0) return null;
  const width = right - left + 1, rows = bottom - top + 1, inside = new Uint8Array(width * rows);
  for (const [x, first, last] of spans)
    for (let y = first; y <= last; y++) inside[(y - top) * width + x - left] = 1;
  return { x: left, y: top, width, height: rows, step, inside };
}

/** The window as a canvas: the colour with `share` of it inside, all of it in a contour of `line` pixels. */
export function tinted(window, [red, green, blue], share, line) {
  const { width, height, inside } = window, image = new ImageData(width, height);
  const is = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside[y * width + x];
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at++) {
      if (!inside[at]) continue;
      const deep = is(x - line, y) && is(x + line, y) && is(x, y - line) && is(x, y + line);
      image.data.set([red, green, blue, deep ? 255 * share : 255], 4 * at);
    }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Whether a pixel of the image belongs to the mask. */
export function holds(window, x, y) {
  const column = Math.floor(x / window.step) - window.x, row = Math.floor(y / window.step) - window.y;
  return column >= 0 && row >= 0 && column < window.width && row < window.height && !!window.inside[row * window.width + column];
}
