// What the page asks its own server, and the pictures that a browser can show.

const NOT_THERE = "the page's own server does not answer; start `maskline-client page` again";

/** JSON of an address; raises an Error with the server's own words. */
async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error(NOT_THERE);
  }
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text.trim() || `${address}: status ${response.status}`); // refused before the application
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** {title, about} of what is served, or {error}. */
export const served = () => ask("served").catch((error) => ({ error: error.message }));

/**
 * What is found in a file: {answer, image, source, ms}. `image` is the upright picture, an ImageBitmap, `source` the file
 * that it is decoded from; `ms` has the time of each step: server, page (its own server's work), transfer.
 */
export async function detect(file, maxBytes) {
  if (file.size > maxBytes)
    throw new Error(`the image: got ${file.size} bytes, expected at most ${maxBytes}; make it smaller`);
  let image = await decoded(file);
  let reply = await posted(file, !image);
  const right = ({ width, height }) => image && image.width === width && image.height === height;
  // A browser that turns a picture, or reads another size, than the server does: take the server's.
  if (!reply.answer.picture && !right(reply.answer.coco.images[0])) reply = await posted(file, true);
  const source = reply.answer.picture ? bytesOf(reply.answer.picture) : file;
  if (reply.answer.picture) image = await decoded(source);
  reply.answer.picture = null;
  return { ...reply, image, source };
}

async function posted(file, picture) {
  const began = performance.now();
  const answer = await ask(picture ? "detect?picture" : "detect", { method: "POST", body: file });
  const { server, page } = answer.ms;
  return { answer, ms: { transfer: performance.now() - began - server - page, server, page } };
}

function bytesOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/jpeg" });
}

/** The picture as it is stored, or null where the browser cannot read it. */
export async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "none" });
  } catch {
    return null;
  }
}
