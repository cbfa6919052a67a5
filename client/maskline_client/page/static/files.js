// Files that the page writes: a drawn picture, and one COCO data set of all images.

import { draw } from "./draw.js";

/** Hand a file to the browser's downloads. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the download has begun by then
}

/** A PNG as `maskline-client detect` draws it: of the image's size, a small one enlarged. */
export function picture(image, answer, objects, show) {
  const canvas = document.createElement("canvas"), { scale } = answer;
  [canvas.width, canvas.height] = [image.width * scale, image.height * scale];
  const pen = Math.max(2, Math.round(Math.min(canvas.width, canvas.height) / 280));
  draw(canvas.getContext("2d"), { image, objects, answer, show, pen, view: { scale, x: 0, y: 0 } });
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** A data set of several answers: [{name, answer, objects}], the objects being those to write. */
export function dataSet(found) {
  const [{ answer: { coco: { info, categories } } }] = found;
  const images = [], annotations = [];
  found.forEach(({ name, answer, objects }, index) => {
    images.push({ ...answer.coco.images[0], id: index + 1, file_name: name });
    for (const { annotation } of objects)
      annotations.push({ ...annotation, id: annotations.length + 1, image_id: index + 1 });
  });
  return { info, images, categories, annotations };
}
