// The page: what is chosen, how keys, pointers and links choose it, and when it is drawn.

import { by, element, quantity } from "./elements.js";
import { forget, getBytes, getJson, has, isFile } from "./parts.js";
import { View, makePalette } from "./wafer.js";
import { makePanes } from "./panes.js";
import { drawTimeline, isSampled, listenToTimes, loadTimes, showWindow, stepWindow, timesOfPe, togglePlay } from "./times.js";
import { SpanTimeline } from "./spans.js";
import { pePanel, runPanel, showLine, spansPart } from "./panel.js";

const ZOOM_STEP = 1.5;
const NEAR = 40; // pixels a PE, for a PE that a link or a table chooses
const TABLE_AFTER = 150; // milliseconds
const CLICK = 5; // pixels that a click may move
const chosen = { map: "busy", window: null, regions: false, tensor: null, color: null, pe: null };
const loaded = { regions: null, route: null };
let run = null;
let view = null;
let spans = null;
let panes = [];
let isDue = false;
let tableTimer = 0;

const stage = by("stage");

// --- drawing -------------------------------------------------------------------------------------

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

function draw() {
  if (panes.some(({ shown }) => !shown)) return;
  const started = performance.now();
  const state = {
    regions: chosen.regions && loaded.regions,
    tensor: chosen.tensor === null ? null : run.tensors[chosen.tensor],
    splits: run.splits,
    route: loaded.route,
    pe: chosen.pe,
  };
  const levels = panes.map((pane) => pane.draw(view, palette(pane), state, redraw));
  if (levels[0] === null) return;
  drawTimeline(run, chosen.window, chosen.map);
  spans.draw(chosen.window === null ? null : run.windows[chosen.window]);
  document.documentElement.dataset.drawn = `${panes[0].shown.path} ${levels[0]}`;
  performance.measure("draw", { start: started });
  if (!performance.getEntriesByName("first picture").length) performance.mark("first picture");
}

function palette(pane) {
  const style = getComputedStyle(document.documentElement);
  const [absent, outside] = ["--absent", "--stage"].map((name) => rgb(style.getPropertyValue(name)));
  return makePalette(run.palettes[pane.isDifference ? "difference" : mapOf(chosen.map).unit], absent, outside);
}

function rgb(text) {
  const digits = text.trim().slice(1);
  return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  const isNew = view.pixels[0] === 1;
  const wasFit = view.scale === view.fitting;
  const { clientWidth, clientHeight } = panes[0].root;
  view.pixels = [clientWidth, clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
  if (isNew || wasFit) view.fit();
  redraw();
}

// --- loading -------------------------------------------------------------------------------------

function mapOf(name) {
  return run.maps.find((one) => one.name === name);
}

// Where the codes of a map lie, of the chosen window if it has windows.
function pathOf(name) {
  return chosen.window !== null && isSampled(run, name) ? `${name}@${chosen.window}` : name;
}

async function chooseMap(name) {
  chosen.map = name;
  by("map").value = name;
  const path = pathOf(name);
  const found = await Promise.all(panes.map((pane) => pane.load(path, view.scale)));
  if (chosen.map !== name || pathOf(name) !== path) return; // another one was chosen meanwhile
  panes.forEach((pane, i) => pane.take(found[i]));
  showWindow(run, chosen.window, name);
  showLegend(mapOf(name), ...found.map(({ about }) => about));
  changed();
}

function showLegend({ title, unit }, { highest, mean }, other, difference) {
  const isOrdered = unit !== "program" && unit !== "part";
  by("lowest").textContent = isOrdered ? "0" : "";
  by("what").textContent = title;
  by("highest").textContent = isOrdered ? quantity(highest, unit) : "";
  by("scale").hidden = unit === "part";
  by("names").hidden = unit !== "part";
  by("difference").hidden = !difference || !isOrdered;
  drawScales();
  const names = panes.map(({ name }) => (name ? `. ${name}` : ""));
  const label = `Map of ${run.width} by ${run.height} PEs: ${title}`;
  panes.forEach(({ overlay }, i) => overlay.setAttribute("aria-label", label + names[i]));
  const range = `${quantity(mean, unit)} on average, at most ${quantity(highest, unit)}`;
  if (difference && isOrdered) {
    by("less").textContent = quantity(-difference.highest || 0, unit);
    by("more").textContent = quantity(difference.highest, unit);
    const means = [mean, other.mean, difference.mean].map((one) => quantity(one, unit));
    const share = unit !== "share" && mean > 0 ? ` (${quantity(difference.mean / mean, "share")} of A)` : "";
    say(`${title}: A ${means[0]} on average, B ${means[1]}, B − A ${means[2]}${share}.`);
  } else say(isOrdered ? `${title}: ${range}.` : `${title}, a color each.`);
}

// Returns when the map of the window is loaded.
async function chooseWindow(number) {
  chosen.window = number;
  await chooseMap(chosen.map).catch((error) => say(error.message));
}

function drawScales() {
  drawScale(by("scale"), palette(panes[0]));
  if (run.other) drawScale(by("scale-difference"), palette(panes[2]));
}

function drawScale(canvas, colors) {
  const context = canvas.getContext("2d");
  for (let code = 1; code < 256; code++) {
    context.fillStyle = `rgb(${colors.slice(4 * code, 4 * code + 3).join(" ")})`;
    context.fillRect(code - 1, 0, 1, 1);
  }
}

async function chooseRegions(isWanted) {
  chosen.regions = isWanted;
  by("regions").checked = isWanted;
  if (isWanted && !loaded.regions) loaded.regions = await loadPrograms();
  changed();
}

async function loadPrograms() {
  const folder = panes[0].folder;
  const about = await getJson(`${folder}maps/program.json`);
  const bytes = await Promise.all(about.levels.map((_, level) => getBytes(`${folder}maps/program/${level}`)));
  return { levels: bytes.map((one, level) => ({ codes: new Uint8Array(one), size: about.levels[level], level })) };
}

async function chooseColor(color) {
  chosen.color = color;
  by("color").value = color ?? "";
  loaded.route = null;
  if (color !== null) {
    const [configs, bytes] = await Promise.all([
      getJson(`routes/${color}.json`),
      getBytes(`routes/${color}`),
    ]);
    if (chosen.color !== color) return;
    loaded.route = { configs, numbers: new Uint16Array(bytes), width: run.width };
  }
  changed();
}

function chooseTensor(index) {
  chosen.tensor = index;
  by("tensor").value = index ?? "";
  changed();
}

// --- tasks and operations ------------------------------------------------------------------------

const WAYS = ["none", "pe", "row", "column"];

async function chooseLine(way) {
  await spans.show(way, chosen.pe);
  resize();
  changed();
  if (chosen.pe) await choosePe(chosen.pe);
}

// Shows other cycles: the table in the panel waits until they stay.
function showCycles() {
  changed();
  clearTimeout(tableTimer);
  tableTimer = setTimeout(() => {
    const found = chosen.pe && spans.tableOf(chosen.pe);
    if (found) by("span-table")?.replaceWith(spansPart(found));
  }, TABLE_AFTER);
}

// Shows the PE of a span, and the source line that it is at.
async function chooseSpan(pe, source, text) {
  if (!chosen.pe || pe.some((place, i) => place !== chosen.pe[i])) await choosePe(pe);
  showLine(by("panel"), source);
  say(text);
  changed();
}

// --- one PE --------------------------------------------------------------------------------------

async function choosePe(pe, { isNear = false } = {}) {
  chosen.pe = pe;
  if (pe && isNear && view.scale < NEAR / 2) {
    [view.x, view.y] = [pe[0] + 0.5, pe[1] + 0.5];
    view.scale = Math.max(view.scale, Math.min(NEAR, Math.min(...view.pixels) / 2));
  }
  changed();
  if (!pe) {
    show(runPanel(run, (first) => choosePe(first, { isNear: true }), chooseTensor));
    return;
  }
  try {
    const values = await valuesAt(pe);
    const times = await timesOfPe(run, mapOf(chosen.map), pe, palette(panes[0]));
    await spans.show(spans.way, pe);
    const known = { rows: values.rows, times, spans: spans.tableOf(pe), choosePe: (other) => choosePe(other, { isNear: true }) };
    const parts = await pePanel(run, pe, await programAt(pe), known);
    if (chosen.pe !== pe) return;
    show([element("button", { onclick: () => choosePe(null) }, "The whole run"), ...parts]);
    say(`PE (${pe.join(", ")}): ${values.now}`);
  } catch (error) {
    say(error.message);
  }
}

function show(parts) {
  by("panel").replaceChildren(...parts);
  by("panel").scrollTop = 0;
}

async function programAt([x, y]) {
  loaded.regions ??= await loadPrograms();
  const code = loaded.regions.levels[0].codes[y * run.width + x];
  if (code === 0) return -1;
  // Codes of more than 255 programs come again.
  if (run.programs.length <= 255) return code - 1;
  const { program } = await getJson(`pes/${x}-${y}.json`);
  return program;
}

// Values of maps in all panes: of the chosen one, and in a file without a server of all.
async function valuesAt(pe) {
  const rows = [];
  let now = "";
  const folder = panes[0].folder;
  for (const map of run.maps.filter(({ name, unit }) => unit !== "program" && has(`${folder}maps/${name}/0`))) {
    if (map.name !== chosen.map && has("pes/")) continue; // a server has the counters themselves
    const path = pathOf(map.name);
    const values = await Promise.all(panes.map((pane) => pane.valueAt(map, path, pe, run)));
    rows.push([map.title, ...values]);
    if (map.name === chosen.map) now = `${map.title} ${withLetters(values)}`;
  }
  return { rows, now };
}

function withLetters(values) {
  return values.map((value, i) => `${panes[i].letter} ${value}`.trim()).join(", ");
}

function hover(x, y) {
  const isInside = x >= 0 && y >= 0 && x < run.width && y < run.height;
  let text = isInside ? `PE (${x}, ${y})` : "";
  const codes = panes.map((pane) => (isInside ? pane.codeAt([x, y], run.width) : undefined));
  const map = mapOf(chosen.map);
  if (codes.every((code) => code !== undefined) && map.unit !== "program") {
    const values = panes.map((pane, i) => pane.worth(map, pane.shown.about, codes[i], run));
    text += `  ${withLetters(values).replaceAll("about", "≈")}`;
  }
  by("hover").textContent = text;
}

function say(text) {
  by("status").textContent = text;
}

// --- links ---------------------------------------------------------------------------------------

function changed() {
  redraw();
  const { map, window: number, regions, tensor, color, pe } = chosen;
  const isWhole = view.scale === view.fitting;
  const pairs = {
    map,
    ...(number !== null && { window: number }),
    ...(regions && { programs: "1" }),
    ...(tensor !== null && { tensor: run.tensors[tensor].name }),
    ...(color !== null && { color }),
    ...(pe && { pe: pe.join(",") }),
    ...(run.spans && { tasks: spans.way }),
    ...(spans.isOpen && spans.range && { cycles: spans.range.map((one) => one.toFixed(1)).join(",") }),
    ...(spans.isOpen && spans.chosenText && { span: spans.chosenText }),
    ...(!isWhole && { at: `${view.x.toFixed(2)},${view.y.toFixed(2)},${view.scale.toFixed(4)}` }),
    ...(wanted().has("renderer") && { renderer: wanted().get("renderer") }),
  };
  const text = `#${new URLSearchParams(pairs)}`;
  if (text !== location.hash) history.replaceState(null, "", text);
}

function wanted() {
  return new URLSearchParams(location.hash.slice(1));
}

// Shows what the link says, and nothing of what was chosen before.
async function follow() {
  const link = wanted();
  const at = numbers(link.get("at"), 3);
  view.fit();
  if (at) {
    const [x, y, scale] = at;
    Object.assign(view, { x, y, scale });
    view.zoom(1);
  }
  const name = link.get("map");
  const number = numbers(link.get("window"), 1);
  chosen.window = number && number[0] < run.windows.length ? Math.floor(number[0]) : null;
  await chooseMap(run.maps.some((one) => one.name === name) ? name : run.maps[0].name);
  await chooseRegions(link.has("programs"));
  const tensor = run.tensors.findIndex((one) => one.name === link.get("tensor"));
  chooseTensor(tensor >= 0 ? tensor : null);
  const color = link.get("color");
  await chooseColor(run.colors.some((one) => `${one.color}` === color) ? color : null);
  const pe = numbers(link.get("pe"), 2);
  const isThere = pe && pe[0] < run.width && pe[1] < run.height;
  const cycles = numbers(link.get("cycles"), 2);
  spans.range = cycles && cycles[0] < cycles[1] && cycles[1] <= run.cycles ? cycles : null;
  const way = WAYS.includes(link.get("tasks")) ? link.get("tasks") : "row";
  await spans.show(way, isThere ? pe.map(Math.floor) : null);
  resize();
  await choosePe(isThere ? pe.map(Math.floor) : null, { isNear: !at && isThere });
  const span = numbers(link.get("span"), 6);
  if (span) spans.chooseNamed(span);
}

function numbers(text, howMany) {
  const found = (text ?? "").split(",").map(Number);
  const isGood = text && found.length === howMany && found.every((one) => Number.isFinite(one) && one >= 0);
  return isGood ? found : null;
}

// --- keys and pointers ---------------------------------------------------------------------------

function zoom(factor, at) {
  view.zoom(factor, at);
  changed();
}

function fit() {
  view.fit();
  changed();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function step([dx, dy], isMove) {
  if (isMove) {
    const far = Math.min(...view.pixels) / 8 / view.scale;
    view.move(dx * far, dy * far);
    changed();
    return;
  }
  const [x, y] = chosen.pe ?? [Math.floor(view.x), Math.floor(view.y)];
  const [nextX, nextY] = chosen.pe ? [x + dx, y + dy] : [x, y];
  if (nextX < 0 || nextY < 0 || nextX >= run.width || nextY >= run.height) return;
  const [px, py] = view.pixel(nextX + 0.5, nextY + 0.5);
  if (px < 0 || py < 0 || px > view.pixels[0] || py > view.pixels[1]) view.move(dx, dy);
  choosePe([nextX, nextY]);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isControl = /^(SELECT|INPUT|BUTTON)$/.test(event.target.tagName);
  if (event.key in ARROWS && event.target.matches(".overlay")) step(ARROWS[event.key], event.shiftKey);
  else if (isControl) return;
  else if (event.key === "+" || event.key === "=") zoom(ZOOM_STEP);
  else if (event.key === "-") zoom(1 / ZOOM_STEP);
  else if (event.key === "0") fit();
  else if (event.key === "Escape") choosePe(null);
  else if (event.key === "," || event.key === ".") stepWindow(run, chosen.window, event.key === "." ? 1 : -1, chooseWindow);
  else if (event.key === " ") togglePlay(run, chooseWindow);
  else if (event.key === "w") chooseWindow(null);
  else if (event.key === "t" && run.spans) nextLine();
  else if (event.key === "p") chooseRegions(!chosen.regions);
  else if (event.key === "m" || event.key === "M") nextMap(event.key === "M" ? -1 : 1);
  else return;
  event.preventDefault();
}

function nextLine() {
  chooseLine(WAYS[(WAYS.indexOf(spans.way) + 1) % WAYS.length]).catch((error) => say(error.message));
}

function nextMap(way) {
  const at = run.maps.findIndex(({ name }) => name === chosen.map);
  const next = (at + way + run.maps.length) % run.maps.length;
  chooseMap(run.maps[next].name).catch((error) => say(error.message));
}

// Lets pointers move, zoom and choose in a pane.
function listenTo({ root, overlay }) {
  let start = null;
  const pixelOf = (event) => {
    const ratio = view.pixels[0] / root.clientWidth;
    const box = overlay.getBoundingClientRect();
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  };
  overlay.addEventListener("pointerdown", (event) => {
    start = { at: pixelOf(event), x: view.x, y: view.y, isDrag: false };
    overlay.setPointerCapture(event.pointerId);
  });
  overlay.addEventListener("pointermove", (event) => {
    const at = pixelOf(event);
    hover(...view.place(...at).map(Math.floor));
    if (!start) return;
    const [dx, dy] = [at[0] - start.at[0], at[1] - start.at[1]];
    start.isDrag ||= Math.hypot(dx, dy) > CLICK;
    if (!start.isDrag) return;
    [view.x, view.y] = [start.x, start.y];
    view.move(-dx / view.scale, -dy / view.scale);
    redraw();
  });
  overlay.addEventListener("pointerup", (event) => {
    const isClick = start && !start.isDrag;
    start = null;
    const [x, y] = view.place(...pixelOf(event)).map(Math.floor);
    if (!isClick) changed();
    else if (x >= 0 && y >= 0 && x < run.width && y < run.height) choosePe([x, y]);
  });
  overlay.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), pixelOf(event));
  }, { passive: false });
}

function listen() {
  panes.forEach(listenTo);
  document.addEventListener("keydown", key);
  by("in").addEventListener("click", () => zoom(ZOOM_STEP));
  by("out").addEventListener("click", () => zoom(1 / ZOOM_STEP));
  by("fit").addEventListener("click", fit);
  by("span-line").addEventListener("change", () => chooseLine(by("span-line").value).catch((error) => say(error.message)));
  by("span-in").addEventListener("click", () => spans.zoom(ZOOM_STEP));
  by("span-out").addEventListener("click", () => spans.zoom(1 / ZOOM_STEP));
  by("theme").addEventListener("click", toggleTheme);
  by("map").addEventListener("change", () => chooseMap(by("map").value));
  by("regions").addEventListener("change", () => chooseRegions(by("regions").checked));
  by("tensor").addEventListener("change", () => chooseTensor(by("tensor").value === "" ? null : Number(by("tensor").value)));
  by("color").addEventListener("change", () => chooseColor(by("color").value || null));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
  window.addEventListener("hashchange", () => follow());
  new ResizeObserver(resize).observe(stage);
}

function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  recolor();
}

function recolor() {
  drawScales();
  redraw();
}

function fill() {
  document.title = `${run.title} – onewafer view`;
  by("title").textContent = run.title;
  const isThere = ({ folder }, name) => has(`${folder}maps/${name}.json`) && has(`${folder}maps/${name}/0`);
  const maps = run.maps.filter(({ name }) => panes.every((pane) => isThere(pane, name)));
  run.maps = maps;
  by("map").append(...maps.map(({ name, title }) => element("option", { value: name }, title)));
  by("tensor").append(...run.tensors.map(({ name, role }, i) => element("option", { value: i }, `${name} (${role})`)));
  by("tensor").closest("label").hidden = run.tensors.length === 0;
  by("time-keys").hidden = run.windows.length === 0;
  by("span-choice").hidden = by("task-keys").hidden = !run.spans;
  by("names").append(...run.parts.map(nameOfPart));
  const colors = run.colors.filter(({ color }) => has(`routes/${color}`));
  by("color").append(...colors.map(({ color, name }) => element("option", { value: color }, name ? `${color} ${name}` : `${color}`)));
  by("color").closest("label").hidden = colors.length === 0;
}

function nameOfPart(name, i) {
  const chip = element("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  const context = chip.getContext("2d");
  context.fillStyle = `rgb(${run.palettes.part.slice(3 * (i + 1), 3 * (i + 2)).join(" ")})`;
  context.fillRect(0, 0, 1, 1);
  return element("li", {}, chip, name);
}

// --- a run that goes on --------------------------------------------------------------------------

// Follows a run until it is over.
function followRun() {
  by("live").hidden = false;
  const source = new EventSource("/events");
  let renewing = Promise.resolve();
  source.addEventListener("message", () => {
    renewing = renewing.then(renew).catch((error) => say(error.message));
    renewing.then(() => {
      by("live").hidden = run.is_over;
      if (run.is_over) source.close();
    });
  });
}

// Waits for the first recording of a run that has not begun.
function awaitRun() {
  by("live").textContent = "waiting";
  by("live").hidden = false;
  by("panel").replaceChildren(element("p", {}, "Nothing runs on the wafer yet: this page follows when it does."));
  say("Waiting for the run.");
  new EventSource("/events").addEventListener("message", ({ data }) => {
    if (data !== "0") location.reload(); // the link says what was chosen
  });
  document.documentElement.dataset.ready = "1";
}

// What has to be the same for a page to go on with what it has.
function kindOf({ title, width, height, maps, parts, programs, spans: traced }) {
  return JSON.stringify([title, width, height, maps.map(({ name }) => name), parts, programs, Boolean(traced)]);
}

// Shows what the run has done by now, of what was chosen before.
async function renew() {
  forget();
  const next = await getJson("run.json");
  if (kindOf(next) !== kindOf(run)) {
    location.reload(); // the link says what was chosen
    return;
  }
  Object.assign(run, next);
  await loadTimes(run);
  spans.forget();
  await chooseMap(chosen.map);
  const { scrollTop } = by("panel");
  await choosePe(chosen.pe);
  by("panel").scrollTop = scrollTop;
  document.documentElement.dataset.cycles = run.cycles;
}

async function begin() {
  run = await getJson("run.json");
  if (run.is_awaited) {
    awaitRun();
    return;
  }
  view = new View(run.width, run.height);
  spans = new SpanTimeline(run, { choose: chooseSpan, changed: showCycles });
  panes = makePanes(run, wanted().get("renderer"));
  document.documentElement.dataset.renderer = panes[0].painter.name;
  fill();
  listenToTimes(run, chooseWindow);
  const times = loadTimes(run);
  resize();
  listen();
  await follow();
  await times;
  redraw();
  document.documentElement.dataset.ready = "1";
  if (!run.is_over && !isFile) followRun();
}

begin().catch((error) => say(`The run cannot be shown: ${error.message}`));
