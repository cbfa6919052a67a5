// The lists beside the picture: images, classes, objects. Texts come from files and servers: they are never HTML.

/** An element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch" });
  made.style.background = colour.fill;
  return made;
}

/** How many objects, in words. */
export const counted = (number) => `${number} object${number === 1 ? "" : "s"}`;

/** One button an image: a small picture, its name, what became of it. */
export function showStrip(list, items, current, choose) {
  items.forEach((item, index) => {
    if (!item.button) {
      item.button = element("button", { type: "button" }, item.thumbnail, element("span", { className: "file" }, item.name), item.says);
      item.button.addEventListener("click", () => choose(item));
      list.insertBefore(element("li", {}, item.button), list.children[index] ?? null);
    }
    item.button.setAttribute("aria-current", item === current);
    item.button.dataset.state = item.state;
    const states = { waiting: "waiting", asked: "asking …", failed: "failed" };
    item.says.textContent = states[item.state] ?? counted(item.shown().length);
  });
}

/** One switch a class: the colour, the name, how many there are; `off` is the set of names that are switched off. */
export function showClasses(box, objects, off, changed) {
  const counts = new Map();
  for (const one of objects) counts.set(one.name, { colour: one.colour, label: one.label, count: 1 + (counts.get(one.name)?.count ?? 0) });
  const names = [...counts.keys()].sort((a, b) => counts.get(a).label - counts.get(b).label);
  if (box.dataset.names !== JSON.stringify(names)) { // else the switch that has the focus stays
    box.dataset.names = JSON.stringify(names);
    box.replaceChildren(...names.map((name) => {
      const input = element("input", { type: "checkbox" });
      input.addEventListener("change", () => changed(name, input.checked));
      return element("label", {}, input, swatch(counts.get(name).colour), ` ${name} `, element("span", { className: "soft" }));
    }));
  }
  [...box.children].forEach((label, index) => {
    label.querySelector("input").checked = !off.has(names[index]);
    label.querySelector(".soft").textContent = counts.get(names[index]).count;
  });
}

/** One button an object; `look` is called with the one under pointer or focus, or null, `hold` with one that is pressed. */
export function showObjects(list, objects, alone, look, hold) {
  const had = [...list.children].map((row) => row.object);
  if (had.length !== objects.length || had.some((one, index) => one !== objects[index]))
    list.replaceChildren(...objects.map((one) => row(one, look, hold)));
  for (const one of list.children) one.firstChild.setAttribute("aria-pressed", one.object === alone);
}

function row(one, look, hold) {
  const size = one.annotation.segmentation ? `${one.annotation.area} px` : `${Math.round(one.area)} px box`;
  const button = element("button", { type: "button" }, swatch(one.colour), element("span", { className: "grow" }, one.name),
    element("span", {}, one.score.toFixed(2)), element("span", { className: "soft" }, size));
  button.addEventListener("pointerenter", () => look(one));
  button.addEventListener("pointerleave", () => look(null));
  button.addEventListener("focus", () => look(one));
  button.addEventListener("blur", () => look(null));
  button.addEventListener("click", () => hold(one));
  return Object.assign(element("li", {}, button), { object: one });
}

/** The time of each step. */
export function showTimes(list, ms) {
  const names = { transfer: "transfer", page: "page", server: "model's server", drawing: "drawing" };
  list.replaceChildren(...Object.entries(names).flatMap(([key, name]) => [
    element("dt", {}, name), element("dd", {}, ms[key] === undefined ? "" : `${ms[key].toFixed(ms[key] < 10 ? 1 : 0)} ms`),
  ]));
}
