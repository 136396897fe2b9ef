// The time of a run: which cycles are seen, where the cursor is, an axis, launches, and the windows
// of a run as a chart.

import { by, element } from "./elements.js";
import { getJson, has, isFile } from "./parts.js";
import { count, quantity, seconds } from "./units.js";

const WINDOW_EVERY = 200; // milliseconds that a window is shown while playing
const TRACE_SECONDS = 20; // for all cycles that are seen
const SLOWEST = 6; // cycles a second, so that eyes can follow a wavelet
const TICK_EVERY = 150; // pixels
const AXIS = 18; // pixels from top to bottom
const LAUNCHES = 18;

export class Time {
  #timer = 0;
  range = null; // cycles that are seen; null: all
  cursor = null; // a cycle; null: the map is of the whole run
  over = null; // what is known of the windows

  // `told` has `see()`, when other cycles are seen, and `move(isPlaying)`, when the cursor moves.
  constructor(run, told) {
    this.run = run;
    this.told = told;
    this.canvas = by("timeline");
    by("cursor").addEventListener("input", () => this.moveTo(Number(by("cursor").value)));
    by("all").addEventListener("click", () => this.moveTo(null));
    by("play").addEventListener("click", () => this.toggle());
    this.canvas.addEventListener("click", ({ offsetX }) => this.moveTo(this.cycleAt(offsetX)));
    by("time-in").addEventListener("click", () => this.zoom(1.5));
    by("time-out").addEventListener("click", () => this.zoom(1 / 1.5));
  }

  // Loads what there is to show of a run, or of what it is by now.
  async load() {
    const { windows, launches, spans, other } = this.run;
    by("time").hidden = windows.length === 0 && !spans && (Boolean(other) || launches.length === 0);
    this.canvas.classList.toggle("brief", windows.length === 0);
    for (const id of ["play", "all", "cursor", "when"]) by(id).hidden = !this.canMove;
    this.over = windows.length > 0 ? await getJson("windows.json") : null;
    this.#name();
  }

  get canMove() {
    return this.run.windows.length > 0 || Boolean(this.run.spans);
  }

  get length() {
    return Math.max(1, this.run.cycles, this.run.other?.cycles ?? 0);
  }

  get cycles() {
    return this.range ?? [0, this.length];
  }

  get isPlaying() {
    return this.#timer !== 0;
  }

  // The number of the window that the cursor is in; null: the whole run is shown.
  get window() {
    const { windows } = this.run;
    if (this.cursor === null || windows.length === 0) return null;
    const found = windows.findIndex(({ end_cycle: end }) => this.cursor < end);
    return found < 0 ? windows.length - 1 : found;
  }

  isSampled(name) {
    if (!this.run.maps.find((map) => map.name === name)?.is_sampled) return false;
    const folders = this.run.other ? ["a/", "b/", "difference/"] : [""];
    return !isFile || this.run.windows.every((_, i) => folders.every((folder) => has(`${folder}maps/${name}@${i}/0`)));
  }

  // --- what is seen ------------------------------------------------------------------------------

  see(from, to) {
    const end = this.length;
    const long = Math.min(Math.max(4, to - from), end);
    const start = Math.min(Math.max(0, from), end - long);
    this.range = long === end ? null : [start, start + long];
    this.told.see();
  }

  zoom(factor, cycle = this.cursor ?? (this.cycles[0] + this.cycles[1]) / 2) {
    const [from, to] = this.cycles;
    const middle = Math.min(Math.max(cycle, from), to);
    this.see(middle - (middle - from) / factor, middle + (to - middle) / factor);
  }

  shift(cycles) {
    const [from, to] = this.cycles;
    this.see(from + cycles, to + cycles);
  }

  get gutter() {
    return parseInt(getComputedStyle(this.canvas).getPropertyValue("--gutter"), 10);
  }

  place(cycle) {
    const [from, to] = this.cycles;
    return this.gutter + ((cycle - from) / (to - from)) * (this.canvas.clientWidth - this.gutter);
  }

  cycleAt(px) {
    const [from, to] = this.cycles;
    const share = (px - this.gutter) / (this.canvas.clientWidth - this.gutter);
    return Math.min(Math.max(from + share * (to - from), 0), this.length);
  }

  // --- the cursor --------------------------------------------------------------------------------

  moveTo(cycle) {
    this.pause();
    this.#set(cycle);
  }

  #set(cycle) {
    this.cursor = cycle === null || !this.canMove ? null : Math.min(Math.max(cycle, 0), this.length);
    this.told.move(this.isPlaying);
  }

  // Moves by a window, or in a traced run by a cycle.
  step(way) {
    if (!this.canMove) return;
    const { windows, spans } = this.run;
    if (spans) this.moveTo(this.cursor === null ? (way > 0 ? 0 : this.length) : Math.floor(this.cursor) + way);
    else {
      const next = this.window === null ? (way > 0 ? 0 : windows.length - 1) : this.window + way;
      const { start_cycle: start } = windows[Math.min(Math.max(next, 0), windows.length - 1)];
      this.moveTo(start);
    }
  }

  pause() {
    if (!this.#timer) return;
    cancelAnimationFrame(this.#timer);
    this.#timer = 0;
    by("play").textContent = "Play";
  }

  toggle() {
    if (!this.canMove) return;
    if (this.isPlaying) {
      this.moveTo(this.cursor);
      return;
    }
    const [from, to] = this.cycles;
    const { windows, spans } = this.run;
    const speed = spans
      ? Math.max(SLOWEST, (to - from) / TRACE_SECONDS)
      : this.length / windows.length / (WINDOW_EVERY / 1000);
    let before = null;
    if (this.cursor === null || this.cursor < from || this.cursor >= to - 1e-9) this.cursor = from;
    by("play").textContent = "Pause";
    const advance = (now) => {
      const cycle = this.cursor + (before === null ? 0 : (speed * (now - before)) / 1000);
      before = now;
      this.#timer = requestAnimationFrame(advance);
      if (cycle >= to) this.moveTo(to);
      else this.#set(cycle);
    };
    this.#timer = requestAnimationFrame(advance);
  }

  // Says which cycles the map shows.
  say(name) {
    const { cycles, clock_hertz: clock, windows } = this.run;
    const can = this.isSampled(name);
    const whole = `whole run, ${count(cycles)} cycles (${seconds(cycles / clock)})`;
    let text = whole;
    if (this.cursor !== null) {
      const at = `cycle ${count(Math.floor(this.cursor))} (${seconds(this.cursor / clock)})`;
      const where = this.window === null || !can ? "the whole run: it is not sampled" : this.#rangeOf(this.window);
      text = windows.length > 0 ? `${at}; map of ${where}` : at;
    }
    by("when").textContent = text;
    by("cursor").setAttribute("aria-valuetext", text);
  }

  // The cycles of a window; of two runs, those of the windows that are compared.
  #rangeOf(number) {
    const { windows, own_windows: own, other, pairs } = this.run;
    const text = (window) => `${count(window.start_cycle)} to ${count(window.end_cycle)}`;
    if (!other) return `cycles ${text(windows[number])}`;
    const [first, second] = pairs[number];
    return `A ${text(own[first])}, B ${text(other.windows[second])}`;
  }

  // --- drawing -----------------------------------------------------------------------------------

  draw(name) {
    if (by("time").hidden) return;
    const { context, width, height, colors } = prepare(this.canvas);
    this.#axis(context, width, colors);
    this.#launches(context, width, colors);
    if (this.over) {
      const box = { top: AXIS + LAUNCHES, height: height - AXIS - LAUNCHES - 1, width };
      if (this.over.parts.length) this.#parts(context, box);
      this.#means(context, box, name, colors);
      nameOfLane(context, this.over.parts.length ? "PEs by part" : this.#known(name), box.top + box.height / 2, this.gutter, colors);
    }
    this.drawCursor(context, height, colors, this.isSampled(name));
    const [from, to] = this.cycles;
    Object.assign(by("cursor"), { min: from, max: to, value: this.cursor ?? from });
    this.canvas.dataset.drawn = `${from} ${to} ${this.cursor}`;
  }

  // Draws the cursor, and the window around it.
  drawCursor(context, height, { accent }, hasWindow) {
    if (this.cursor === null) return;
    const window = hasWindow && this.window !== null ? this.run.windows[this.window] : null;
    if (window) {
      const left = Math.max(this.gutter, this.place(window.start_cycle));
      context.globalAlpha = 0.18;
      context.fillStyle = accent;
      context.fillRect(left, 0, Math.max(1, this.place(window.end_cycle) - left), height);
      context.globalAlpha = 1;
    }
    const at = this.place(this.cursor);
    if (at < this.gutter) return;
    context.fillStyle = accent;
    context.fillRect(at - 1, 0, 2, height);
  }

  #axis(context, width, colors) {
    drawAxis(context, { cycles: this.cycles, left: this.gutter, width, top: 0, clock: this.run.clock_hertz }, colors);
    nameOfLane(context, this.gutter < 100 ? "cycle" : "cycle (time)", AXIS / 2, this.gutter, colors);
  }

  #launches(context, width, colors) {
    if (this.run.other || this.run.launches.length === 0) return;
    nameOfLane(context, "launches", AXIS + LAUNCHES / 2, this.gutter, colors);
    this.run.launches.forEach(({ name, start_cycle: start, end_cycle: end }, i) => {
      const left = Math.max(this.gutter, this.place(start));
      const right = Math.min(width, this.place(end));
      if (right <= left) return;
      context.fillStyle = i % 2 ? colors.line : colors.other;
      context.globalAlpha = i % 2 ? 1 : 0.45;
      context.fillRect(left, AXIS + 1, Math.max(1, right - left - 1), LAUNCHES - 3);
      context.globalAlpha = 1;
      context.fillStyle = colors.ink;
      const text = cutText(context, name, right - left - 8);
      context.fillText(text, left + 4, AXIS + LAUNCHES / 2);
    });
  }

  // The share of the PEs at each part of the model, one above the other.
  #parts(context, { top, height, width }) {
    const palette = this.run.palettes.part;
    this.run.windows.forEach(({ start_cycle: start, end_cycle: end }, i) => {
      const left = Math.max(this.gutter, this.place(start));
      const right = Math.min(width, this.place(end));
      let bottom = top + height;
      if (right <= left) return;
      this.over.parts[i].forEach((share, part) => {
        context.fillStyle = partColor(palette, part);
        context.fillRect(left, bottom - share * height, right - left, share * height);
        bottom -= share * height;
      });
    });
  }

  #known(name) {
    return name in this.over.means ? name : "busy";
  }

  #lines(name, { ink, accent }) {
    const known = this.#known(name);
    const { windows, own_windows: own, cycles, other } = this.run;
    const lines = [{ means: this.over.means[known], windows: own ?? windows, cycles, color: ink, letter: "A" }];
    if (other) lines.push({ means: this.over.other[known], windows: other.windows, cycles: other.cycles, color: accent, letter: "B" });
    return lines;
  }

  // The mean of all PEs, window by window: of the map that is shown, or of busy; of two runs both.
  #means(context, { top, height, width }, name, colors) {
    const lines = this.#lines(name, colors);
    const highest = Math.max(...lines.flatMap(({ means }) => means));
    if (!(highest > 0)) return;
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, width - this.gutter, top + height + 1);
    context.clip();
    context.lineWidth = 1.5;
    for (const { means, windows, color } of lines) {
      context.beginPath();
      windows.forEach(({ start_cycle: start, end_cycle: end }, i) => {
        const y = top + height - 1 - (means[i] / highest) * (height - 3);
        context.lineTo(this.place(start), y);
        context.lineTo(this.place(end), y);
      });
      context.strokeStyle = color;
      context.stroke();
    }
    context.restore();
  }

  // --- the legend --------------------------------------------------------------------------------

  // Says what the chart shows, with the height of its lines.
  #name() {
    this.nameChart(this.charted ?? "busy");
  }

  nameChart(name) {
    this.charted = name;
    by("time-names").replaceChildren(...this.#chips(name), ...(this.run.spans ? SPAN_CHIPS.map(chip) : []));
  }

  #chips(name) {
    if (!this.over) return [];
    const colors = inks();
    const map = this.run.maps.find((one) => one.name === this.#known(name));
    const lines = this.#lines(name, colors);
    const highest = quantity(Math.max(...lines.flatMap(({ means }) => means)), map?.unit ?? "share");
    const title = map?.title ?? "busy";
    const chips = lines.map(({ color, letter }) => [
      color,
      `${this.run.other ? `${letter}: ` : ""}${title}, mean of all PEs (at most ${highest})`,
    ]);
    const seen = this.run.parts.map((part, i) => [partColor(this.run.palettes.part, i), part, i]);
    const known = seen.filter(([, , i]) => this.over.parts.some((shares) => shares[i] > 0));
    return [...known, ...chips].map(chip);
  }
}

const SPAN_CHIPS = [
  ["#8fc07f", "task"],
  ["#7db3e0", "operation"],
  ["#f0a05a", "wait"],
];

// A color with its name, as an item of a list.
export function chip([color, name]) {
  const canvas = element("canvas", { class: "chip", width: 1, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return element("li", {}, canvas, name);
}

export function partColor(palette, part) {
  return `rgb(${palette.slice(3 * (part + 1), 3 * (part + 2)).join(" ")})`;
}

// --- what charts share -----------------------------------------------------------------------------

export function inks() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "faint", "line", "other", "accent", "stage"];
  return Object.fromEntries(names.map((one) => [one, style.getPropertyValue(`--${one}`).trim()]));
}

// Clears a canvas, and lets it be drawn on in CSS pixels.
export function prepare(canvas) {
  const ratio = globalThis.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  [canvas.width, canvas.height] = [width, height].map((side) => Math.round(side * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height, colors: inks() };
}

// Writes the name of what lies to the right.
function nameOfLane(context, text, y, gutter, { faint }) {
  context.fillStyle = faint;
  context.fillText(cutText(context, text, gutter - 8), 0, y);
}

// Draws an axis of cycles, with their times.
export function drawAxis(context, { cycles: [from, to], left, width, top, clock }, { faint, line }) {
  const isNarrow = width - left < 500;
  const most = Math.max(1, Math.floor((width - left) / (isNarrow ? TICK_EVERY / 2 : TICK_EVERY)));
  const step = Math.max(1, niceStep((to - from) / most));
  context.fillStyle = line;
  context.fillRect(left, top + AXIS - 1, width - left, 1);
  for (let cycle = Math.ceil(from / step) * step; cycle <= to; cycle += step) {
    const px = left + ((cycle - from) / (to - from)) * (width - left);
    const text = isNarrow ? count(cycle) : `${count(cycle)} (${seconds(cycle / clock)})`;
    const long = context.measureText(text).width;
    context.fillStyle = faint;
    context.fillRect(Math.round(px), top + AXIS - 6, 1, 6);
    context.fillText(text, Math.max(left, Math.min(px - long / 2, width - long)), top + 6);
  }
}

// The smallest of 1, 2, 5, 10, 20, … that is not smaller.
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least);
}

export function cutText(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let letters = Math.min(text.length, Math.floor(width / 5.5));
  while (letters > 1 && context.measureText(`${text.slice(0, letters - 1)}…`).width > width) letters -= 1;
  return letters > 2 ? `${text.slice(0, letters - 1)}…` : "";
}
