// The page: its images, what is shown of the one that is looked at, and every control.

import { camera } from "./camera.js";
import { draw } from "./draw.js";
import { dataSet, picture, save } from "./files.js";
import { counted, element, showClasses, showObjects, showStrip, showTimes } from "./lists.js";
import { objectAt, objectsOf } from "./scene.js";
import { decoded, detect, served } from "./server.js";
import { View } from "./view.js";

const AT_A_TIME = 2; // requests of this page: one computes while the next travels
const AWAY_MS = 3000; // between questions to a server that does not answer
const THUMBNAIL = 72; // px

const $ = Object.fromEntries([...document.querySelectorAll("[id]")].map((one) => [one.id, one]));
const items = [], off = new Set(); // images, and names of classes that are switched off
let current = null, looked = null, held = null, maxBytes = Infinity;

const threshold = () => $.threshold.value / 100;
const sure = (item) => (item?.objects ?? []).filter((one) => one.score >= threshold());
const shown = (item) => sure(item).filter((one) => !off.has(one.name));
const show = (alone) => ({
  masks: $["show-masks"].checked, boxes: $["show-boxes"].checked, names: $["show-names"].checked,
  keypoints: $["show-keypoints"].checked, alone,
});
const say = (text) => ($.said.textContent = text);

const pointed = (pixel) => look(pixel && objectAt(shown(current), pixel.x, pixel.y));
const view = new View($.canvas, redraw, pointed, () => looked && hold(looked));

function look(one) {
  if ((one ?? null) === looked) return;
  looked = one ?? null;
  redraw();
}

function hold(one) {
  held = one === held ? null : one;
  refresh();
}

function redraw() {
  if (!current?.image) return;
  const began = performance.now(), { image, answer } = current;
  const pen = ($.canvas.clientWidth < 480 ? 1.5 : 2) * window.devicePixelRatio; // names follow it
  draw($.canvas.getContext("2d"), { image, objects: shown(current), answer, view, show: show(looked ?? held), pen });
  current.ms.drawing = performance.now() - began;
  showTimes($.times, current.ms);
}

/** Bring everything but the images themselves up to date. */
function refresh() {
  $["threshold-said"].textContent = threshold().toFixed(2);
  $.threshold.setAttribute("aria-valuetext", threshold().toFixed(2));
  showStrip($.strip, items, current, choose);
  $.work.hidden = !current;
  if (!current) return;
  const there = !!current.image, failed = current.state === "failed", objects = shown(current);
  if (!objects.includes(held)) held = null;
  if (!objects.includes(looked)) looked = null;
  $.name.textContent = current.name + (there ? `, ${current.image.width} × ${current.image.height}` : "");
  [$.error.hidden, $.again.hidden] = [!failed, !failed];
  if ($.error.textContent !== (current.error ?? "")) $.error.textContent = current.error ?? "";
  for (const one of [$.stage, $.zoom, $.times, $.controls]) one.hidden = !there;
  if (!there) return;
  $["keypoints-switch"].hidden = !current.answer.keypoint_colours.length;
  $["show-masks"].parentElement.hidden = !current.objects.some((one) => one.annotation.segmentation);
  $["classes-box"].hidden = !current.objects.length;
  showClasses($.classes, sure(current), off, (name, on) => {
    on ? off.delete(name) : off.add(name);
    refresh();
  });
  $["objects-title"].textContent = `${objects.length} of ${current.objects.length} objects`;
  showObjects($.objects, objects, held, look, hold);
  $.canvas.setAttribute("aria-label", `${current.name}: ${objects.map((one) => one.name).join(", ") || "nothing found"}`);
  view.fit();
}

async function choose(item) {
  [current, looked, held] = [item, null, null];
  if (item.objects && !item.image) item.image = await decoded(item.source); // only one is kept decoded
  if (item.objects && !item.image) [item.state, item.error] = ["failed", "the browser cannot read this file any more; choose it again"];
  for (const other of items) if (other !== current) other.image = null;
  if (item.image) view.of(item.image);
  refresh();
}

/** Take files in: each has its own place in the strip, and its own end. */
function take(files) {
  for (const file of files) {
    const item = { file, name: file.name || "pasted image", state: "waiting", says: element("span", { className: "soft" }) };
    item.thumbnail = element("canvas", { width: THUMBNAIL, height: THUMBNAIL });
    item.thumbnail.setAttribute("aria-hidden", "true");
    item.shown = () => shown(item);
    items.push(item);
  }
  refresh();
  next();
}

/** Send the images that wait, a few at a time. */
function next() {
  const under = items.filter((one) => one.state === "asked").length;
  for (const item of items.filter((one) => one.state === "waiting").slice(0, AT_A_TIME - under)) asked(item);
}

async function asked(item) {
  [item.state, item.error] = ["asked", null];
  if (!current) choose(item);
  refresh();
  try {
    const reply = await detect(item.file, maxBytes);
    Object.assign(item, reply, { state: "found", objects: objectsOf(reply.answer) });
    thumbnail(item);
    say(`${item.name}: ${counted(shown(item).length)}`);
  } catch (error) {
    [item.state, item.error] = ["failed", error.message];
    say(`${item.name}: ${error.message}`);
    if (!away) watch();
  }
  if (item === current) await choose(item);
  else item.image = null;
  refresh();
  next();
}

function thumbnail(item) {
  const { image } = item, scale = THUMBNAIL / Math.min(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  item.thumbnail.getContext("2d").drawImage(image, (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2, width, height);
}

let away = false; // whether the server is being asked again and again

/** Say what is served; while nothing answers, ask again. */
async function watch() {
  const found = await served();
  maxBytes = found.max_bytes ?? maxBytes;
  $.served.textContent = found.title ?? found.error;
  $.served.title = found.about ?? "";
  $.served.classList.toggle("bad", !!found.error);
  away = !!found.error;
  if (away) setTimeout(watch, AWAY_MS);
}

function wire() {
  $.files.addEventListener("change", () => {
    take($.files.files);
    $.files.value = ""; // the same file again is a change
  });
  window.addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    $.drop.hidden = false;
  });
  window.addEventListener("dragleave", (event) => event.relatedTarget || ($.drop.hidden = true));
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    $.drop.hidden = true;
    take(event.dataTransfer.files);
  });
  window.addEventListener("keydown", (event) => event.key === "Escape" && hold(null));
  for (const name of ["threshold", "show-masks", "show-boxes", "show-names", "show-keypoints"]) $[name].addEventListener("input", refresh);
  $["classes-all"].addEventListener("click", () => (off.clear(), refresh()));
  $["classes-none"].addEventListener("click", () => (current.objects.forEach((one) => off.add(one.name)), refresh()));
  $.closer.addEventListener("click", () => view.by(1.4));
  $.farther.addEventListener("click", () => view.by(1 / 1.4));
  $.whole.addEventListener("click", () => view.whole());
  $.again.addEventListener("click", () => asked(current));
  $["save-png"].addEventListener("click", async () =>
    save(await picture(current.image, current.answer, shown(current), show(null)), `${current.name.replace(/\.\w+$/, "")}-found.png`));
  $["save-coco"].addEventListener("click", () => {
    const found = items.filter((one) => one.objects).map(({ name, answer, shown }) => ({ name, answer, objects: shown() }));
    save(new Blob([JSON.stringify(dataSet(found))], { type: "application/json" }), "detections.json");
  });
  camera({ open: $.camera, why: $["camera-why"], panel: $["camera-panel"], video: $.video, shoot: $.shoot, close: $["camera-stop"] }, take);
}

wire();
watch();
