// Draws a picture and the objects in it: on the page as it is looked at, for a file at its own size.

const DIMMED = 0.22; // of what stands beside the object that is looked at

/**
 * Draw on a canvas.
 *
 * context: 2D, of a canvas whose every pixel is drawn.
 * image: what is shown, upright; null draws the objects alone.
 * objects: those to draw, best first.
 * view: {scale, x, y}: a pixel p of the image is drawn at p * scale + (x, y).
 * show: {masks, boxes, names, keypoints, alone}: what of them; `alone`: the one that stands out, or null.
 * pen: width of a line, px of the canvas.
 */
export function draw(context, { image, objects, answer, view, show, pen }) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.fillStyle = "black"; // what the server sees behind what is clear
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (image) {
    context.fillRect(view.x, view.y, image.width * view.scale, image.height * view.scale);
    context.imageSmoothingEnabled = view.scale < 3; // from there on pixels are looked at
    context.drawImage(image, view.x, view.y, image.width * view.scale, image.height * view.scale);
  }
  const largest = [...objects].sort((a, b) => b.area - a.area);
  const clear = (one) => (show.alone && one !== show.alone ? DIMMED : 1);
  const each = (list, paint) => list.forEach((one) => {
    context.globalAlpha = clear(one);
    paint(one);
  });
  if (show.masks) each(largest, (one) => drawMask(context, one, view));
  if (show.boxes) each(largest, (one) => drawBox(context, one, view, pen));
  if (show.keypoints) each(largest, (one) => drawPoints(context, one, answer, view, pen));
  if (show.names) {
    const taken = [];
    each(show.alone ? objects.filter((one) => one === show.alone) : objects, (one) => drawName(context, one, view, pen, taken));
  }
  context.globalAlpha = 1;
}

function drawMask(context, one, { scale, x, y }) {
  const mask = one.mask();
  if (!mask) return;
  const side = mask.step * scale;
  context.imageSmoothingEnabled = true;
  context.drawImage(mask.picture, mask.x * side + x, mask.y * side + y, mask.width * side, mask.height * side);
}

function drawBox(context, one, view, pen) {
  const [x0, y0, x1, y1] = onCanvas(one.box, view);
  for (const [width, colour] of [[pen + 2, "rgba(0, 0, 0, 0.35)"], [pen, one.colour.fill]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

function drawPoints(context, one, answer, { scale, x, y }, pen) {
  const places = one.points.map((point) => [point.x * scale + x, point.y * scale + y]);
  const there = (j) => one.points[j].score > 0;
  const joined = one.points.length ? one.skeleton.map(([a, b]) => [a - 1, b - 1]).filter(([a, b]) => there(a) && there(b)) : [];
  for (const [width, colour] of [[pen + 2, "black"], [pen, one.colour.fill]])
    for (const [a, b] of joined) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(...places[a]);
      context.lineTo(...places[b]);
      context.stroke();
    }
  places.forEach((place, j) => {
    for (const [more, colour] of there(j) ? [[3, "black"], [2, "white"], [0.5, answer.keypoint_colours[j].fill]] : []) {
      context.fillStyle = colour;
      context.beginPath();
      context.arc(...place, pen + more, 0, 2 * Math.PI);
      context.fill();
    }
  });
}

/** A name where it hides no other: above the box, inside at its top, or below; inside the canvas if it fits there. */
function drawName(context, one, view, pen, taken) {
  const [x0, y0, x1, y1] = onCanvas(one.box, view), { width, height } = context.canvas;
  if (x1 < 0 || y1 < 0 || x0 > width || y0 > height) return;
  const text = `${one.name} ${Math.round(100 * one.score)}%`, size = 6 * pen + 1;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + size, high = 1.5 * size;
  const fitted = (x, y) => [Math.max(0, Math.min(x, width - wide)), Math.max(0, Math.min(y, height - high))];
  const rows = [y0 - high, y0, y1, y1 - high, ...[1, 2, 3, 4].map((more) => y1 + more * high)];
  const places = rows.flatMap((y) => [fitted(x0, y), fitted(x1 - wide, y)]);
  const [x, y] = places.find((place) => taken.every((other) => apart(place, other, wide, high))) ?? places[0];
  taken.push([x, y, wide, high]);
  context.fillStyle = one.colour.fill;
  context.beginPath();
  context.roundRect(x, y, wide, high, pen);
  context.fill();
  context.fillStyle = one.colour.ink;
  context.textBaseline = "middle";
  context.fillText(text, x + size / 2, y + high / 2 + 0.5);
}

function apart([x, y], [otherX, otherY, otherWide, otherHigh], wide, high) {
  return x + wide <= otherX || otherX + otherWide <= x || y + high <= otherY || otherY + otherHigh <= y;
}

function onCanvas([x0, y0, x1, y1], { scale, x, y }) {
  return [x0 * scale + x, y0 * scale + y, x1 * scale + x, y1 * scale + y];
}
