// The run over time: a timeline of windows and launches, and the scrubber that chooses a window.

import { by, count, element, quantity } from "./elements.js";
import { getBytes, getJson, has, isFile } from "./parts.js";

const PLAY_EVERY = 200; // milliseconds a window
const LAUNCH_HEIGHT = 14;
let timer = 0;
let over = null; // what is known of the windows

export function isSampled(run, name) {
  if (!run.maps.find((map) => map.name === name)?.is_sampled) return false;
  const folders = run.other ? ["a/", "b/", "difference/"] : [""];
  return !isFile || run.windows.every((_, i) => folders.every((folder) => has(`${folder}maps/${name}@${i}/0`)));
}

// Listens to the scrubber; `choose` gets the number of a window, null: the whole run.
export function listenToTimes(run, choose) {
  const chooseNow = (number) => {
    stop();
    choose(number);
  };
  by("window").addEventListener("input", () => chooseNow(Number(by("window").value)));
  by("all").addEventListener("click", () => chooseNow(null));
  by("play").addEventListener("click", () => togglePlay(run, choose));
  by("timeline").addEventListener("click", (event) => {
    if (run.windows.length === 0) return;
    const cycle = (event.offsetX / by("timeline").clientWidth) * lengthOf(run);
    const number = run.windows.findIndex(({ end_cycle: end }) => cycle < end);
    chooseNow(number < 0 ? run.windows.length - 1 : number);
  });
}

// Shows what there is to show.
export async function loadTimes(run) {
  const { windows, launches } = run;
  by("times").hidden = windows.length === 0 && (Boolean(run.other) || launches.length === 0);
  by("times").classList.toggle("brief", windows.length === 0);
  by("scrubber").hidden = windows.length === 0;
  if (windows.length === 0) return;
  by("window").max = windows.length - 1;
  over = await getJson("windows.json");
}

export function stepWindow(run, chosen, way, choose) {
  if (run.windows.length === 0) return;
  stop();
  const first = way > 0 ? 0 : run.windows.length - 1;
  choose(chosen === null ? first : Math.min(Math.max(chosen + way, 0), run.windows.length - 1));
}

export function togglePlay(run, choose) {
  if (timer) {
    stop();
    return;
  }
  if (run.windows.length === 0) return;
  const last = run.windows.length - 1;
  let next = Number(by("window").value);
  if (next >= last) next = -1;
  by("play").textContent = "Pause";
  const advance = async () => {
    next += 1;
    await choose(next);
    if (next === last) stop();
    else if (timer) timer = setTimeout(advance, PLAY_EVERY);
  };
  timer = setTimeout(advance, 0);
}

function stop() {
  clearTimeout(timer);
  timer = 0;
  by("play").textContent = "Play";
}

// Says which window is shown, and whether the map has windows at all.
export function showWindow(run, number, name) {
  const { windows, cycles } = run;
  if (windows.length === 0) return;
  const can = isSampled(run, name);
  const at = number === null || !can ? null : windows[number];
  for (const id of ["window", "play", "all"]) by(id).disabled = !can;
  if (number !== null) by("window").value = number;
  const range = at ? rangeOf(run, number) : `the whole run, ${count(cycles)} cycles`;
  by("when").textContent = can ? range : `the whole run: this map is not sampled`;
  by("window").setAttribute("aria-valuetext", range);
}

// The cycles of a window; of two runs, those of the windows that are compared.
function rangeOf({ windows, own_windows: own, other, pairs }, number) {
  const text = (window) => `cycles ${count(window.start_cycle)} to ${count(window.end_cycle)}`;
  if (!other) return text(windows[number]);
  const [first, second] = pairs[number];
  return `A ${text(own[first])}, B ${text(other.windows[second])}`;
}

// Cycles of the timeline.
function lengthOf({ cycles, other }) {
  return Math.max(1, cycles, other?.cycles ?? 0);
}

// --- the timeline --------------------------------------------------------------------------------

export function drawTimeline(run, number, name) {
  const canvas = by("timeline");
  if (by("times").hidden) return;
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colors = Object.fromEntries(["ink", "faint", "line", "accent"].map((one) => [one, style.getPropertyValue(`--${one}`).trim()]));
  const box = { width: canvas.clientWidth, height: canvas.clientHeight - LAUNCH_HEIGHT };
  const place = (cycle) => (cycle / lengthOf(run)) * box.width;
  if (over?.parts.length) drawParts(context, run, place, box);
  if (over) drawMeans(context, run, place, box, name, colors);
  drawLaunches(context, run, place, box, colors);
  const at = number === null ? null : run.windows[number];
  if (!at || !isSampled(run, name)) return;
  context.strokeStyle = colors.accent;
  context.lineWidth = 2;
  const left = place(at.start_cycle);
  context.strokeRect(left + 1, 1, Math.max(2, place(at.end_cycle) - left - 2), box.height - 2);
}

// The share of the PEs at each part of the model, one above the other.
function drawParts(context, run, place, { height }) {
  const palette = run.palettes.part;
  run.windows.forEach((window, i) => {
    let bottom = height;
    over.parts[i].forEach((share, part) => {
      context.fillStyle = `rgb(${palette.slice(3 * (part + 1), 3 * (part + 2)).join(" ")})`;
      const left = place(window.start_cycle);
      context.fillRect(left, bottom - share * height, place(window.end_cycle) - left, share * height);
      bottom -= share * height;
    });
  });
}

// The mean of all PEs, window by window: of the map that is shown, or of busy; of two runs both.
function drawMeans(context, run, place, { height }, name, colors) {
  const known = name in over.means ? name : "busy";
  const own = run.other ? run.own_windows : run.windows;
  const lines = [{ means: over.means[known], windows: own, cycles: run.cycles, color: colors.ink }];
  if (run.other) lines.push({ means: over.other[known], windows: run.other.windows, cycles: run.other.cycles, color: colors.accent });
  const highest = Math.max(...lines.flatMap(({ means }) => means));
  if (!(highest > 0)) return;
  context.lineWidth = 1.5;
  lines.forEach(({ means, windows, cycles, color }, nth) => {
    const tops = means.map((mean) => height - 2 - (mean / highest) * (height - 6));
    context.beginPath();
    windows.forEach((window, i) => {
      context.lineTo(place(window.start_cycle), tops[i]);
      context.lineTo(place(window.end_cycle), tops[i]);
    });
    context.strokeStyle = color;
    context.stroke();
    if (over.parts.length || nth > 0) return;
    context.lineTo(place(cycles), height);
    context.lineTo(0, height);
    context.fillStyle = colors.line;
    context.globalAlpha = 0.6;
    context.fill();
    context.globalAlpha = 1;
  });
}

function drawLaunches(context, run, place, { height }, colors) {
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  run.launches.forEach(({ name, start_cycle: start, end_cycle: end }, i) => {
    const [left, right] = [place(start), place(end)];
    context.fillStyle = i % 2 ? colors.line : colors.faint;
    context.globalAlpha = 0.45;
    context.fillRect(left, height + 2, Math.max(1, right - left), LAUNCH_HEIGHT - 2);
    context.globalAlpha = 1;
    if (right - left < 7 * name.length) return;
    context.fillStyle = colors.ink;
    context.fillText(name, left + 3, height + LAUNCH_HEIGHT / 2 + 1);
  });
}

// --- one PE over time ----------------------------------------------------------------------------

// Pictures of the row and the column of a PE: window by window from left to right.
export async function timesOfPe(run, map, [x, y], palette) {
  if (run.other || !isSampled(run, map.name)) return []; // of two runs the maps are enough
  const lines = await linesOf(run, map.name, [x, y]);
  const size = run.windows.length;
  const parts = [];
  for (const [title, length, codes, at] of [
    [`Row ${y}`, run.width, lines.row, x],
    [`Column ${x}`, run.height, lines.column, y],
  ]) {
    const canvas = element("canvas", { width: size, height: length, class: "lines", role: "img", "aria-label": `${title}: ${map.title}, window by window` });
    const image = new ImageData(size, length);
    const pixels = new Uint32Array(image.data.buffer);
    const colors = new Uint32Array(palette.buffer);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < length; j++) pixels[j * size + i] = colors[codes[i * length + j]];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    const edge = title.startsWith("Row") ? "west to east" : "north to south";
    parts.push(element("h4", {}, `${title}, ${edge} from top to bottom; the PE is ${count(at + 1)} of ${count(length)}`), canvas);
  }
  const values = run.windows.map(({ start_cycle: start, end_cycle: end }, i) => {
    const code = lines.row[i * run.width + x];
    const value = map.unit === "part" ? run.parts[code - 1] ?? "" : quantity((Math.max(0, code - 1) / 254) * lines.highest, map.unit);
    return [`${count(start)}–${count(end)}`, value];
  });
  return [{ title: `Over time: ${map.title}`, pictures: parts, values }];
}

async function linesOf(run, name, [x, y]) {
  const { highest } = await getJson(`maps/${name}@0.json`);
  const size = run.windows.length;
  if (!isFile) {
    const all = new Uint8Array(await getBytes(`times/${name}/${x}-${y}`));
    return { highest, row: all.slice(0, size * run.width), column: all.slice(size * run.width) };
  }
  const row = new Uint8Array(size * run.width);
  const column = new Uint8Array(size * run.height);
  for (let i = 0; i < size; i++) {
    const codes = new Uint8Array(await getBytes(`maps/${name}@${i}/0`));
    row.set(codes.slice(y * run.width, (y + 1) * run.width), i * run.width);
    for (let j = 0; j < run.height; j++) column[i * run.height + j] = codes[j * run.width + x];
  }
  return { highest, row, column };
}
