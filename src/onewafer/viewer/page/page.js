// The page: what is chosen, how keys, pointers and links choose it, and when it is drawn.

import { by, element } from "./elements.js";
import { forget, getBytes, getJson, has, isFile } from "./parts.js";
import { View, makePalette } from "./wafer.js";
import { heldAt, rangesText } from "./overlays.js";
import { makePanes } from "./panes.js";
import { Time, chip, partColor } from "./time.js";
import { Lanes, movesOf } from "./lanes.js";
import { mapOfOperation, operationOf } from "./operations.js";
import { countersOf, showLine, showTab, spansPart, tabsOf } from "./panel.js";
import { timesOfPe } from "./pe_windows.js";
import { count, number, quantity, seconds } from "./units.js";

const ZOOM_STEP = 1.5;
const NEAR = 40; // pixels a PE, for a PE that a link or a table chooses
const TABLE_AFTER = 150; // milliseconds
const CLICK = 5; // pixels that a click may move
const MOST_NAMED = 24; // programs in the legend
const FEW_PES = 4096; // whose programs are known from the start
const WAYS = ["row", "column", "pe", "none"];
const chosen = { map: "busy", regions: false, tensor: null, color: null, pe: null, tab: "overview" };
const loaded = { regions: null, route: null, moves: null };
let run = null;
let view = null;
let time = null;
let lanes = null;
let panes = [];
let isDue = false;
let tableTimer = 0;
let shownTab = 0; // of several tabs that are loading, the last one is shown

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
    moves: time.cursor === null ? null : loaded.moves,
    cycle: time.cursor,
    color: chosen.color === null ? null : Number(chosen.color),
    words: wordsOf,
    pe: chosen.pe,
  };
  const levels = panes.map((pane) => pane.draw(view, palette(pane), state, redraw));
  if (levels[0] === null) return;
  time.draw(chosen.map);
  lanes.draw();
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
  const pairs = digits.length === 3 ? [...digits].map((one) => one + one) : digits.match(/../g);
  return pairs.map((pair) => parseInt(pair, 16));
}

// What is written into a PE that is near.
function wordsOf(pane, x, y) {
  const map = mapOf(chosen.map);
  const code = pane.codeAt([x, y], run.width);
  const words = [`(${x}, ${y})`];
  if (code !== undefined && map.unit !== "program") words.push(`${map.title.split(",")[0]} ${pane.worth(map, pane.shown.about, code, run)}`);
  const program = programName(loaded.regions?.levels[0].codes[y * run.width + x]);
  if (program && run.programs.length > 1) words.push(program);
  const tensor = run.tensors[chosen.tensor];
  if (tensor) {
    const [rows, columns] = [tensor.rows, tensor.columns].map((split) => rangesText(heldAt(run.splits[split], x, y)));
    words.push(`rows ${rows}`, `columns ${columns}`);
  }
  return words;
}

function programName(code) {
  return run.programs.length <= 255 ? run.programs.find(({ number }) => number === code - 1)?.short : undefined;
}

function resize() {
  const { overlay } = panes[0];
  view.resize(overlay.clientWidth, overlay.clientHeight, window.devicePixelRatio || 1);
  redraw();
}

// --- loading -------------------------------------------------------------------------------------

function mapOf(name) {
  return run.maps.find((one) => one.name === name);
}

// Where the codes of a map lie, of the window that the cursor is in if it has windows.
function pathOf(name) {
  return time.window !== null && time.isSampled(name) ? `${name}@${time.window}` : name;
}

async function chooseMap(name) {
  chosen.map = name;
  by("map").value = name;
  const path = pathOf(name);
  const found = await Promise.all(panes.map((pane) => pane.load(path, view.scale)));
  if (chosen.map !== name || pathOf(name) !== path) return; // another one was chosen meanwhile
  panes.forEach((pane, i) => pane.take(found[i]));
  time.say(name);
  showLegend(mapOf(name), ...found.map(({ about }) => about));
  changed();
}

function showLegend({ name, title, unit }, { highest, most, mean }, other, difference) {
  const isOrdered = unit !== "program" && unit !== "part";
  by("what").textContent = operationOf(name) === null ? title : `cycles of ${title}`;
  by("lowest").textContent = isOrdered ? "0" : "";
  by("highest").textContent = isOrdered ? quantity(highest, unit) : "";
  by("scale").hidden = !isOrdered;
  by("names").hidden = isOrdered;
  by("names").replaceChildren(...namesOf(unit));
  by("difference").hidden = !difference || !isOrdered;
  time.nameChart(name);
  drawScales();
  const names = panes.map(({ name: pane }) => (pane ? `. ${pane}` : ""));
  const label = `Map of ${run.width} by ${run.height} PEs: ${title}`;
  panes.forEach(({ overlay }, i) => overlay.setAttribute("aria-label", label + names[i]));
  const range = `${quantity(mean, unit)} on average, at most ${quantity(most, unit)}`;
  if (difference && isOrdered) {
    by("less").textContent = `A more: ${quantity(difference.highest, unit)}`;
    by("more").textContent = `B more: ${quantity(difference.highest, unit)}`;
    const means = [mean, other.mean].map((one) => quantity(one, unit));
    // The difference of two shares is no share of one of them.
    const size = Math.abs(difference.mean);
    const change = unit === "share" ? `${number(100 * size)} percentage points` : quantity(size, unit);
    const words = difference.mean === 0 ? "as much" : `${change} ${difference.mean > 0 ? "more" : "less"}`;
    say(`${title}: A ${means[0]} on average, B ${means[1]}: B has ${words}.`);
  } else say(isOrdered ? `${title}: ${range}.` : `${title}, a color each.`);
}

// The names of what has no order, with their colors.
function namesOf(unit) {
  if (unit === "part") return run.parts.map((part, i) => chip([partColor(run.palettes.part, i), part]));
  if (unit !== "program") return [];
  const named = run.programs.slice(0, MOST_NAMED).map(({ number, short }) => chip([partColor(run.palettes.program, number % 255), short]));
  const left = run.programs.length - named.length;
  return left > 0 ? [...named, element("li", {}, `and ${count(left)} more`)] : named;
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
  if (isWanted) loaded.regions ??= await loadPrograms();
  changed();
}

async function loadPrograms() {
  const { folder } = panes[0];
  const about = await getJson(`${folder}maps/program.json`);
  const codes = await Promise.all(about.levels.map((_, level) => getBytes(`${folder}maps/program/${level}`)));
  return { levels: codes.map((one, level) => ({ codes: new Uint8Array(one), size: about.levels[level], level })) };
}

async function chooseColor(color) {
  chosen.color = color;
  by("color").value = color ?? "";
  loaded.route = null;
  if (color !== null) {
    const [configs, numbers] = await Promise.all([
      getJson(`routes/${color}.json`),
      getBytes(`routes/${color}`),
    ]);
    if (chosen.color !== color) return;
    loaded.route = { configs, numbers: new Uint16Array(numbers), width: run.width };
  }
  changed();
}

function chooseTensor(index) {
  chosen.tensor = index;
  by("tensor").value = index ?? "";
  changed();
}

// Shows the PEs of an operation, and its line.
async function chooseOperation(index) {
  chosen.operation = index;
  chosen.tab = "operations";
  if (mapOf(mapOfOperation(index))) await chooseMap(mapOfOperation(index));
  await showPanel();
  const { title, launch } = run.operations[index];
  if (!mapOf(mapOfOperation(index))) say(`${title} in ${launch}: no look saw a PE at it.`);
}

// --- time ----------------------------------------------------------------------------------------

// Shows the cycles at the cursor.
async function moveCursor(isPlaying) {
  time.say(chosen.map);
  if (panes[0].shown?.path !== pathOf(chosen.map)) await chooseMap(chosen.map).catch((error) => say(error.message));
  else if (isPlaying) redraw();
  else changed();
}

// Shows other cycles: the table in the panel waits until they stay.
function showCycles() {
  changed();
  clearTimeout(tableTimer);
  tableTimer = setTimeout(() => {
    const found = chosen.pe && lanes.tableOf(chosen.pe);
    if (found) by("span-table")?.replaceWith(spansPart(found));
  }, TABLE_AFTER);
}

async function chooseLine(way) {
  await lanes.show(way, chosen.pe);
  resize();
  changed();
  if (chosen.pe) await showPanel();
}

// Shows the PE of a span, and the source line that it is at.
async function chooseSpan(pe, source, text) {
  const isOther = !chosen.pe || pe.some((place, i) => place !== chosen.pe[i]);
  chosen.tab = "program";
  await (isOther ? choosePe(pe) : showPanel());
  showLine(source);
  say(text);
  changed();
}

// --- the panel -----------------------------------------------------------------------------------

async function choosePe(pe, { isNear = false } = {}) {
  chosen.pe = pe;
  if (pe && isNear && view.scale < NEAR / 2) {
    [view.x, view.y] = [pe[0] + 0.5, pe[1] + 0.5];
    view.scale = Math.max(view.scale, Math.min(NEAR, Math.min(...view.pixels) / 2));
  }
  changed();
  const now = await showPanel();
  if (pe && now) say(`PE (${pe.join(", ")}): ${now}`);
}

// Shows the tab of what is chosen; returns the value of the map at the PE.
async function showPanel() {
  const { pe } = chosen;
  const mine = ++shownTab;
  const known = {
    run,
    pe,
    over: time.over,
    operation: chosen.operation ?? operationOf(chosen.map),
    openHelp,
    chooseTab,
    chooseOperation: (index) => chooseOperation(index).catch((error) => say(error.message)),
    chooseTensor,
    choosePe: (other) => choosePe(other, { isNear: true }),
  };
  try {
    const values = pe ? await valuesAt(pe) : { now: "" };
    if (pe) Object.assign(known, await aboutPe(pe), { rows: values.rows });
    const show = await showTab(chosen.tab, known);
    if (mine !== shownTab) return null;
    show();
    return values.now;
  } catch (error) {
    say(error.message);
    return null;
  }
}

async function aboutPe(pe) {
  await lanes.show(lanes.way, pe);
  const number = await programAt(pe);
  const map = mapOf(chosen.map);
  return {
    counters: await countersOf(run, pe),
    program: number >= 0 ? await getJson(`programs/${number}.json`) : null,
    times: await timesOfPe(run, map, time.isSampled(map.name), pe, palette(panes[0])),
    spans: lanes.tableOf(pe),
  };
}

async function chooseTab(id, { hasFocus = true } = {}) {
  chosen.tab = id;
  await showPanel();
  if (hasFocus) by(`tab-${id}`)?.focus();
  changed();
}

function nextTab(way) {
  const ids = tabsOf(run, chosen.pe);
  const at = Math.max(0, ids.indexOf(chosen.tab));
  chooseTab(ids[(at + way + ids.length) % ids.length]);
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
  const { folder } = panes[0];
  for (const map of run.maps.filter(({ name, unit }) => unit !== "program" && has(`${folder}maps/${name}/0`))) {
    if (map.name !== chosen.map && has("pes/")) continue; // a server has the counters themselves
    const path = pathOf(map.name);
    const values = await Promise.all(panes.map((pane) => pane.valueAt(map, path, pe, run)));
    rows.push([map.title, ...values]);
    if (map.name === chosen.map) now = `${map.title} ${withLetters(values)}`;
  }
  if (!now) now = programName(await programAt(pe) + 1) ?? "";
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
  if (codes.every((code) => code !== undefined)) {
    const values = panes.map((pane, i) => pane.worth(map, pane.shown.about, codes[i], run));
    text += `: ${map.unit === "program" ? programName(codes[0]) ?? "no program" : withLetters(values)}`;
  }
  by("hover").textContent = text;
}

function say(text) {
  by("status").textContent = text;
}

function openHelp() {
  by("help-dialog").showModal();
}

// --- links ---------------------------------------------------------------------------------------

function changed() {
  redraw();
  if (time.isPlaying) return; // a link names what stays
  const { map, regions, tensor, color, pe, tab } = chosen;
  const isWhole = view.scale === view.fitting;
  const pairs = {
    map,
    ...(time.cursor !== null && { cycle: Math.floor(time.cursor) }),
    ...(regions && { programs: "1" }),
    ...(tensor !== null && { tensor: run.tensors[tensor].name }),
    ...(color !== null && { color }),
    ...(pe && { pe: pe.join(",") }),
    ...(tab !== "overview" && { tab }),
    ...(run.spans && { tasks: lanes.way }),
    ...(time.range && { cycles: time.range.map((one) => one.toFixed(1)).join(",") }),
    ...(lanes.isOpen && lanes.chosenText && { span: lanes.chosenText }),
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
  const cycle = numbers(link.get("cycle"), 1);
  time.cursor = cycle && time.canMove && cycle[0] <= time.length ? cycle[0] : null;
  const cycles = numbers(link.get("cycles"), 2);
  time.range = cycles && cycles[0] < cycles[1] && cycles[1] <= time.length ? cycles : null;
  const name = link.get("map");
  chosen.operation = undefined;
  await chooseMap(mapOf(name) ? name : run.maps[0].name);
  await chooseRegions(link.has("programs"));
  const tensor = run.tensors.findIndex((one) => one.name === link.get("tensor"));
  chooseTensor(tensor >= 0 ? tensor : null);
  const color = link.get("color");
  await chooseColor(run.colors.some((one) => `${one.color}` === color) ? color : null);
  const pe = numbers(link.get("pe"), 2);
  const isThere = pe && pe[0] < run.width && pe[1] < run.height;
  const way = WAYS.includes(link.get("tasks")) ? link.get("tasks") : "row";
  await lanes.show(way, isThere ? pe.map(Math.floor) : null);
  resize();
  chosen.tab = link.get("tab") ?? "overview";
  await choosePe(isThere ? pe.map(Math.floor) : null, { isNear: !at && isThere });
  const span = numbers(link.get("span"), 6);
  if (span) lanes.chooseNamed(span);
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

const KEYS = {
  "+": () => zoom(ZOOM_STEP),
  "=": () => zoom(ZOOM_STEP),
  "-": () => zoom(1 / ZOOM_STEP),
  0: fit,
  Escape: () => choosePe(null),
  ",": () => time.step(-1),
  ".": () => time.step(1),
  " ": () => time.toggle(),
  w: () => time.moveTo(null),
  t: () => run.spans && chooseLine(WAYS[(WAYS.indexOf(lanes.way) + 1) % WAYS.length]).catch((error) => say(error.message)),
  p: () => chooseRegions(!chosen.regions),
  m: () => nextMap(1),
  M: () => nextMap(-1),
  "?": openHelp,
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || by("help-dialog").open) return;
  const { target } = event;
  if (target.matches("[role=tab]") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) nextTab(ARROWS[event.key][0]);
  else if (event.key in ARROWS && target.matches(".overlay")) step(ARROWS[event.key], event.shiftKey);
  else if (/^(SELECT|INPUT)$/.test(target.tagName) || (target.tagName === "BUTTON" && event.key === " ")) return;
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
}

function nextMap(way) {
  const maps = run.maps.filter(({ name }) => operationOf(name) === null);
  const at = maps.findIndex(({ name }) => name === chosen.map);
  chooseMap(maps[(at + way + maps.length) % maps.length].name).catch((error) => say(error.message));
}

// Lets pointers move, zoom and choose in a pane.
function listenTo({ overlay }) {
  let start = null;
  const pixelOf = (event) => {
    const ratio = view.pixels[0] / overlay.clientWidth;
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
  overlay.addEventListener("pointerleave", () => hover(-1, -1));
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
  by("help").addEventListener("click", openHelp);
  by("back").addEventListener("click", () => choosePe(null));
  by("span-line").addEventListener("change", () => chooseLine(by("span-line").value).catch((error) => say(error.message)));
  by("map").addEventListener("change", () => {
    chosen.operation = undefined;
    chooseMap(by("map").value).then(showPanel).catch((error) => say(error.message));
  });
  by("regions").addEventListener("change", () => chooseRegions(by("regions").checked));
  by("tensor").addEventListener("change", () => chooseTensor(by("tensor").value === "" ? null : Number(by("tensor").value)));
  by("color").addEventListener("change", () => chooseColor(by("color").value || null));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    showLegend(mapOf(chosen.map), ...panes.map(({ shown }) => shown.about));
    redraw();
  });
  window.addEventListener("hashchange", () => follow());
  new ResizeObserver(resize).observe(stage);
}

// --- what there is to choose ---------------------------------------------------------------------

function fill() {
  const { cycles, clock_hertz: clock, provenance } = run;
  const script = provenance.script.replace(/^.*\//, "");
  document.title = `${script ? `${script}: ` : ""}${run.title} – onewafer view`;
  by("title").textContent = script ? `${script} · ${run.title}` : run.title;
  by("facts").textContent = `${run.width}×${run.height} PEs of ${run.arch_title}, ${count(cycles)} cycles, ${seconds(cycles / clock)}`;
  const isThere = ({ folder }, name) => has(`${folder}maps/${name}.json`) && has(`${folder}maps/${name}/0`);
  run.maps = run.maps.filter(({ name }) => panes.every((pane) => isThere(pane, name)));
  const groups = [...new Set(run.maps.map(({ group }) => group))];
  by("map").append(...groups.map((group) => element("optgroup", { label: group }, ...run.maps
    .filter((map) => map.group === group)
    .map(({ name, title }) => element("option", { value: name }, title)))));
  by("tensor").append(...run.tensors.map(({ name, role }, i) => element("option", { value: i }, `${name} (${role})`)));
  by("tensor").closest("label").hidden = run.tensors.length === 0;
  by("span-choice").hidden = by("span-keys").hidden = !run.spans;
  by("operations-help").hidden = run.operations.length === 0;
  by("time-help").hidden = !time.canMove;
  by("moves-help").textContent = run.spans
    ? "This run was traced: dots on the map are wavelets on their way in the cycle at the cursor, each color of the fabric in one of its own. Routes shows one color alone."
    : "Single wavelets are shown of runs that were traced: cs_python --trace … --record …, or onewafer csl trace --record ….";
  const colors = run.colors.filter(({ color }) => has(`routes/${color}`));
  by("color").append(...colors.map(({ color, name }) => element("option", { value: color }, name ? `${color} ${name}` : `${color}`)));
  by("color").closest("label").hidden = colors.length === 0;
  document.body.classList.toggle("compared", Boolean(run.other));
}

// Gives each program the part of its name that tells it from the others: its params, or its file.
function nameShortly(programs) {
  const fileOf = ({ name }) => name.split(" (")[0];
  const isAlone = programs.length === 1 || new Set(programs.map(fileOf)).size > 1;
  for (const program of programs) {
    const params = program.name.slice(fileOf(program).length).trim().replace(/^\(|\)$/g, "");
    program.short = isAlone || !params ? program.name.replace(/^\S*\//, "") : params;
  }
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
  by("content").replaceChildren(element("p", {}, "Nothing runs on the wafer yet: this page follows when it does."));
  say("Waiting for the run.");
  new EventSource("/events").addEventListener("message", ({ data }) => {
    if (data !== "0") location.reload(); // the link says what was chosen
  });
  document.documentElement.dataset.ready = "1";
}

// What has to be the same for a page to go on with what it has.
function kindOf({ title, width, height, maps, parts, programs, spans: traced }) {
  const names = maps.map(({ name }) => name).filter((name) => operationOf(name) === null);
  return JSON.stringify([title, width, height, names, parts, programs.map(({ name }) => name), Boolean(traced)]);
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
  nameShortly(run.programs);
  await time.load();
  lanes.forget();
  await chooseMap(chosen.map);
  const { scrollTop } = by("content");
  await choosePe(chosen.pe);
  by("content").scrollTop = scrollTop;
  document.documentElement.dataset.cycles = run.cycles;
}

async function begin() {
  run = await getJson("run.json");
  if (run.is_awaited) {
    awaitRun();
    return;
  }
  nameShortly(run.programs);
  view = new View(run.width, run.height);
  time = new Time(run, { see: showCycles, move: moveCursor });
  lanes = new Lanes(run, time, chooseSpan);
  panes = makePanes(run, wanted().get("renderer"));
  document.documentElement.dataset.renderer = panes[0].painter.name;
  fill();
  await time.load();
  resize();
  listen();
  if (run.width * run.height <= FEW_PES) loaded.regions = await loadPrograms();
  await follow();
  loaded.moves = await movesOf(run);
  redraw();
  document.documentElement.dataset.ready = "1";
  if (!run.is_over && !isFile) followRun();
}

begin().catch((error) => say(`The run cannot be shown: ${error.message}`));
