// What an answer means for drawing: objects with their boxes, masks made when first needed, keypoints.

import { holds, maskWindow, tinted } from "./rle.js";

const FINEST = 1600; // px of a mask's longer side on the page: more cannot be seen, and a hundred masks fit into memory
const CENTRE = 0.5; // from a pixel's index, as COCO writes keypoints, to continuous pixels

/** The objects of an answer, best first. */
export function objectsOf(answer) {
  const { annotations, categories, images: [{ width, height }] } = answer.coco;
  const step = Math.ceil(Math.max(width, height) / FINEST);
  const line = Math.max(1, Math.round(Math.min(width, height) / 280 / step));
  return annotations.map((annotation) => {
    const [x, y, w, h] = annotation.bbox, label = annotation.category_id - 1;
    const colour = answer.colours[label];
    let mask; // undefined: not made yet
    return {
      annotation, label, colour, box: [x, y, x + w, y + h], area: w * h, score: annotation.score,
      name: categories[label].name, points: pointsOf(annotation), skeleton: categories[label].skeleton ?? [],
      mask() {
        if (mask === undefined) {
          const rle = annotation.segmentation;
          mask = rle ? maskWindow(rle.counts, height, step) : null;
          if (mask) mask.picture = tinted(mask, colour.fill.match(/\d+/g).map(Number), answer.fill_share, line);
        }
        return mask;
      },
      at(px, py) {
        return this.annotation.segmentation
          ? !!this.mask() && holds(this.mask(), px, py)
          : px >= x && py >= y && px < x + w && py < y + h;
      },
    };
  });
}

function pointsOf({ keypoints, keypoint_scores: scores }) {
  return (scores ?? []).map((score, j) => ({ x: keypoints[3 * j] + CENTRE, y: keypoints[3 * j + 1] + CENTRE, score }));
}

/** The smallest of the objects that lie under a pixel of the image, or undefined. */
export function objectAt(objects, x, y) {
  return objects.filter((one) => one.at(x, y)).sort((a, b) => a.area - b.area)[0];
}
