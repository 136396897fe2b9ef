// Tasks, operations and waits of a PE, a row or a column over time: a lane a thread.

import { by, element, table } from "./elements.js";
import { getBytes, getJson, isFile } from "./parts.js";
import { cutText, prepare } from "./time.js";
import { count } from "./units.js";

const MAIN = 8; // the main thread
const [TASK, , WAIT] = [0, 1, 2];
const [LOWEST, HIGHEST] = [5, 24]; // pixels a lane
const MOST_ROWS = 200; // of the table
const MISS = 3; // pixels that a click may miss a span
const SPAN_COLORS = [
  ["#8fc07f", "#a9d49b", "#79ad68"],
  ["#7db3e0", "#9ccaf0", "#649ccb"],
  ["#f0a05a", "#f7b97f", "#dd8a41"],
]; // by kind, three of each so that neighbours differ
const SPAN_KINDS = ["Task", "Operation", "Wait"];

export class Lanes {
  #texts = null;
  #top = 0; // the first lane that is seen, perhaps a part of it
  #chosen = null; // { lane, at }
  #drag = null;
  #wanted = ""; // the line that is loaded, or on its way
  lanes = [];
  way = "row"; // row, column, pe; none: closed

  // `time` says which cycles are seen; `choose(pe, source, text)` is told what is chosen.
  constructor(run, time, choose) {
    this.run = run;
    this.time = time;
    this.tell = choose;
    this.canvas = by("span-canvas");
    this.#listen();
  }

  get isOpen() {
    return Boolean(this.run.spans) && this.way !== "none";
  }

  get chosenText() {
    return this.#chosen ? this.#nameOf(this.#chosen) : null;
  }

  // Shows a PE, its row or its column; `pe` null: of the PE that has most spans.
  async show(way, pe) {
    this.way = this.run.spans ? way : "none";
    this.canvas.hidden = !this.isOpen;
    by("span-line").value = this.way;
    if (!this.isOpen) {
      this.#wanted = "";
      by("span-note").textContent = "";
      return;
    }
    const [x, y] = pe ?? this.run.spans.first_pe;
    const wanted = `${way} ${way === "row" ? y : way === "column" ? x : `${x},${y}`} ${this.run.cycles}`;
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#texts ??= await getJson("spans.json");
    const lanes = lanesOf(await spansOf(this.run, way, [x, y]), way, [x, y]);
    if (this.#wanted !== wanted) return;
    this.lanes = lanes;
    this.#top = 0;
    this.#chosen = null;
    this.#describe(way, [x, y]);
  }

  // Forgets what was loaded: the run has gone on.
  forget() {
    this.#wanted = "";
    this.#texts = null;
  }

  #describe(way, [x, y]) {
    const what = { row: `row ${y}`, column: `column ${x}`, pe: `PE (${x}, ${y})` }[way];
    const total = this.lanes.reduce((sum, { all }) => sum + all.length, 0);
    const text = `${what}: ${count(total)} tasks, operations and waits in ${count(this.lanes.length)} lanes`;
    this.canvas.setAttribute("aria-label", `Timeline of ${text}`);
    const { spans_until: until, num_spans_left_out: left } = this.run;
    const limit = until === null ? "" : ` The ${count(left)} that begin from cycle ${count(until)} on are not in the recording.`;
    by("span-note").textContent = this.lanes.length ? limit : `${what} did nothing.${limit}`;
  }

  // --- drawing -----------------------------------------------------------------------------------

  get #laneHeight() {
    return Math.min(HIGHEST, Math.max(LOWEST, this.canvas.clientHeight / Math.max(1, this.lanes.length)));
  }

  draw() {
    if (!this.isOpen) return;
    const { context, height, colors } = prepare(this.canvas);
    const tall = this.#laneHeight;
    const first = Math.floor(this.#top);
    const end = Math.min(this.lanes.length, Math.ceil(this.#top + height / tall));
    for (let i = first; i < end; i++) this.#drawLane(context, this.lanes[i], (i - this.#top) * tall, tall);
    this.#drawNames(context, [first, end], tall, colors);
    if (this.#chosen) this.#outline(context, tall, colors);
    this.time.drawCursor(context, height, colors, false);
    this.canvas.dataset.drawn = `${this.#wanted} ${this.time.cycles.join(" ")}`;
  }

  #drawLane(context, lane, top, tall) {
    for (const [layer, isWait] of [[lane.held, false], [lane.waits, true]]) {
      const [y, high] = isWait ? [top + 0.45 * tall, 0.55 * tall - 1] : [top + 0.5, tall - 1];
      this.#drawLayer(context, lane, layer, y, high);
    }
  }

  #drawLayer(context, { spans }, layer, y, high) {
    const { time, canvas: { clientWidth: width } } = this;
    const [from, to] = time.cycles;
    let drawn = time.gutter; // what lies left of it is drawn: many spans may share a pixel
    for (let i = firstEndingAfter(layer, spans.end, from); i < layer.length; i++) {
      const at = layer[i];
      if (spans.start[at] > to) break;
      const left = Math.max(time.gutter, time.place(spans.start[at]));
      const right = Math.min(width, Math.max(time.place(spans.end[at]), left + 1));
      if (right <= drawn) continue;
      const shades = SPAN_COLORS[spans.kind[at]];
      context.fillStyle = shades[spans.name[at] % shades.length];
      context.fillRect(Math.max(left, drawn), y, right - Math.max(left, drawn), high);
      drawn = Math.ceil(right - 0.5);
      if (high < 10 || right - left < 24) continue;
      context.fillStyle = "#111";
      context.fillText(cutText(context, this.#texts.names[spans.name[at]], right - left - 6), left + 3, y + high / 2 + 0.5);
    }
  }

  #drawNames(context, [first, end], tall, { ink, faint, line }) {
    let free = -1;
    for (let i = first; i < end; i++) {
      const lane = this.lanes[i];
      const top = (i - this.#top) * tall;
      if (lane.isFirst) {
        context.fillStyle = line;
        context.fillRect(0, Math.round(top), this.canvas.clientWidth, 1);
      }
      if (top < free || (tall < 10 && !lane.isFirst)) continue;
      context.fillStyle = lane.isFirst ? ink : faint;
      const text = cutText(context, lane.isFirst ? lane.title : lane.label, this.time.gutter - 6);
      context.fillText(text, 0, top + Math.max(tall, 10) / 2 + 1);
      free = top + 11;
    }
  }

  #outline(context, tall, { ink }) {
    const { lane, at } = this.#chosen;
    const { spans } = this.lanes[lane];
    const left = Math.max(this.time.gutter, this.time.place(spans.start[at]));
    const right = Math.max(left + 2, this.time.place(spans.end[at]));
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.strokeRect(left, (lane - this.#top) * tall - 0.5, right - left, tall + 1);
  }

  // --- what is chosen ----------------------------------------------------------------------------

  // A span in words: what, where, when.
  #say({ lane, at }) {
    const { spans, pe, label } = this.lanes[lane];
    const [start, end] = [spans.start[at], spans.end[at]];
    const waited = spans.cycles[at] === end - start ? "" : `, of which it waited ${count(spans.cycles[at])}`;
    const never = spans.isOpen[at] ? ", and had not ended" : "";
    const source = this.#texts.sources[spans.source[at]];
    return `${SPAN_KINDS[spans.kind[at]]} ${this.#texts.names[spans.name[at]]}, PE (${pe.join(", ")}), ${label}: ` +
      `cycles ${count(start)} to ${count(end)} (${count(end - start)}${waited})${never}.${source ? ` ${source}` : ""}`;
  }

  // A span in a link: its lane and its start.
  #nameOf({ lane, at }) {
    const { pe, thread, kind, spans } = this.lanes[lane];
    return [...pe, thread, kind, spans.kind[at], spans.start[at]].join(",");
  }

  // Chooses what a link names.
  chooseNamed([x, y, thread, kind, spanKind, start]) {
    const lane = this.lanes.findIndex((one) => one.pe[0] === x && one.pe[1] === y && one.thread === thread && one.kind === kind);
    const at = this.lanes[lane]?.all.find((i) => this.lanes[lane].spans.start[i] === start && this.lanes[lane].spans.kind[i] === spanKind);
    if (at !== undefined) this.#choose({ lane, at });
  }

  #choose(found) {
    this.#chosen = found;
    const { spans, pe } = this.lanes[found.lane];
    const tall = this.#laneHeight;
    const seen = Math.max(1, Math.floor(this.canvas.clientHeight / tall));
    this.#scroll(Math.min(Math.max(this.#top, found.lane - seen + 1), found.lane));
    const [from, to] = this.time.cycles;
    const [start, end] = [spans.start[found.at], spans.end[found.at]];
    if (end < from || start > to) this.time.see(start - (to - from) / 4, start + (3 * (to - from)) / 4);
    this.tell(pe, this.#texts.sources[spans.source[found.at]], this.#say(found));
  }

  #scroll(top) {
    const seen = this.canvas.clientHeight / this.#laneHeight;
    this.#top = Math.max(0, Math.min(top, this.lanes.length - seen));
  }

  // The span at a place of the canvas, or the nearest one.
  #find(px, py) {
    const lane = Math.floor(this.#top + py / this.#laneHeight);
    const found = this.lanes[lane];
    if (!found || px < this.time.gutter) return null;
    const far = this.time.cycleAt(px + MISS) - this.time.cycleAt(px);
    const part = this.#top + py / this.#laneHeight - lane;
    const layers = part > 0.45 ? [found.waits, found.held] : [found.held, found.waits];
    for (const miss of [0, far]) {
      for (const layer of layers) {
        const at = layer[firstEndingAfter(layer, found.spans.end, this.time.cycleAt(px) - miss)];
        if (at !== undefined && found.spans.start[at] <= this.time.cycleAt(px) + miss) return { lane, at };
      }
    }
    return null;
  }

  #step(way) {
    if (!this.#chosen) return this.#chooseFirst();
    const { lane, at } = this.#chosen;
    const { all } = this.lanes[lane];
    const next = all[all.indexOf(at) + way];
    if (next !== undefined) this.#choose({ lane, at: next });
  }

  // Chooses, in the lane above or below, what runs at the same time.
  #stepLane(way) {
    if (!this.#chosen) return this.#chooseFirst();
    const start = this.lanes[this.#chosen.lane].spans.start[this.#chosen.at];
    const lane = this.#chosen.lane + way;
    const found = this.lanes[lane];
    if (!found) return;
    const after = firstEndingAfter(found.all, found.spans.end, start);
    this.#choose({ lane, at: found.all[Math.min(after, found.all.length - 1)] });
  }

  #chooseFirst() {
    const lane = Math.ceil(this.#top);
    const found = this.lanes[lane];
    if (!found) return;
    const first = firstEndingAfter(found.all, found.spans.end, this.time.cycles[0]);
    this.#choose({ lane, at: found.all[Math.min(first, found.all.length - 1)] });
  }

  // --- as a table --------------------------------------------------------------------------------

  // What a PE does in the cycles that are seen, as rows of a table; null: it is not shown.
  tableOf([x, y]) {
    const lanes = this.lanes.map((lane, i) => ({ lane, i })).filter(({ lane: { pe } }) => pe[0] === x && pe[1] === y);
    if (!this.isOpen || lanes.length === 0) return null;
    const [from, to] = this.time.cycles;
    const found = lanes.flatMap(({ lane, i }) => lane.all
      .filter((at) => lane.spans.end[at] >= from && lane.spans.start[at] <= to)
      .map((at) => ({ lane: i, at, spans: lane.spans, label: lane.label })));
    found.sort((a, b) => a.spans.start[a.at] - b.spans.start[b.at]);
    const rows = found.slice(0, MOST_ROWS).map(({ lane, at, spans, label }) => [
      count(spans.start[at]),
      count(spans.cycles[at]),
      element("button", { onclick: () => this.#choose({ lane, at }) }, `${SPAN_KINDS[spans.kind[at]].toLowerCase()} ${this.#texts.names[spans.name[at]]}`),
      `${label}${spans.isOpen[at] ? ", not ended" : ""}`,
    ]);
    const heads = [["from cycle", "number"], ["cycles", "number"], ["what", "name"], ["on"]];
    return { num: found.length, most: MOST_ROWS, rows: table(heads, rows) };
  }

  // --- keys and pointers -------------------------------------------------------------------------

  #listen() {
    const { canvas } = this;
    const at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [px] = at(event);
      if (event.shiftKey) {
        this.#scroll(this.#top + Math.sign(event.deltaY || event.deltaX));
        this.time.told.see();
      } else this.time.zoom(Math.exp(-event.deltaY / 400), this.time.cycleAt(Math.max(px, this.time.gutter)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      this.#drag = { from: at(event), cycles: this.time.cycles, top: this.#top, isDrag: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => this.#point(at(event)));
    canvas.addEventListener("pointerup", (event) => {
      const isClick = this.#drag && !this.#drag.isDrag;
      this.#drag = null;
      const found = isClick ? this.#find(...at(event)) : null;
      if (found) this.#choose(found);
    });
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.#key(event)) return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #point([px, py]) {
    if (!this.#drag) {
      this.#hover(this.#find(px, py));
      return;
    }
    const { from, cycles, top } = this.#drag;
    const [dx, dy] = [px - from[0], py - from[1]];
    this.#drag.isDrag ||= Math.hypot(dx, dy) > MISS;
    if (!this.#drag.isDrag) return;
    const far = (dx / (this.canvas.clientWidth - this.time.gutter)) * (cycles[1] - cycles[0]);
    this.#scroll(top - dy / this.#laneHeight);
    this.time.see(cycles[0] - far, cycles[1] - far);
  }

  #hover(found) {
    by("time-hover").textContent = found ? this.#say(found) : "";
  }

  #key({ key, shiftKey }) {
    const [from, to] = this.time.cycles;
    const keys = {
      ArrowLeft: () => (shiftKey ? this.time.shift((from - to) / 8) : this.#step(-1)),
      ArrowRight: () => (shiftKey ? this.time.shift((to - from) / 8) : this.#step(1)),
      ArrowUp: () => this.#stepLane(-1),
      ArrowDown: () => this.#stepLane(1),
      "+": () => this.time.zoom(1.5, this.#middle()),
      "=": () => this.time.zoom(1.5, this.#middle()),
      "-": () => this.time.zoom(1 / 1.5),
      0: () => this.time.see(0, this.run.cycles),
    };
    keys[key]?.();
    return key in keys;
  }

  // Where to zoom in: at what is chosen, if it is seen.
  #middle() {
    if (!this.#chosen) return undefined;
    const { spans } = this.lanes[this.#chosen.lane];
    return (spans.start[this.#chosen.at] + spans.end[this.#chosen.at]) / 2;
  }
}

// The first of some spans, which follow one another, that ends after a cycle.
function firstEndingAfter(layer, ends, cycle) {
  let [low, high] = [0, layer.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[layer[middle]] > cycle) high = middle;
    else low = middle + 1;
  }
  return low;
}

// --- the spans of a line of PEs --------------------------------------------------------------------

// Returns [place in the line, spans] of all PEs of a row or a column, or of one PE.
async function spansOf(run, way, [x, y]) {
  if (way !== "column") {
    const found = decode(await getBytes(`spans/row/${y}`), run.width);
    return way === "pe" ? [found[x]] : found;
  }
  if (!isFile) return decode(await getBytes(`spans/column/${x}`), run.height);
  const rows = Array.from({ length: run.height }, (_, i) => getBytes(`spans/row/${i}`));
  return (await Promise.all(rows)).map((bytes) => decode(bytes, run.width)[x]);
}

// Takes the columns of `span_lines.py` apart, PE by PE.
function decode(bytes, numPes) {
  const counts = new Uint32Array(bytes.slice(0, 4 * numPes));
  const total = counts.reduce((sum, one) => sum + one, 0);
  let at = 4 * numPes;
  const take = (Kind) => {
    const start = at;
    at += Kind.BYTES_PER_ELEMENT * total;
    return new Kind(bytes.slice(start, at));
  };
  const [start, end, cycles] = [take(Float64Array), take(Float64Array), take(Float64Array)];
  const [name, source] = [take(Uint32Array), take(Uint32Array)];
  const [thread, kind, isOpen] = [take(Uint8Array), take(Uint8Array), take(Uint8Array)];
  const columns = Object.entries({ start, end, cycles, name, source, thread, kind, isOpen });
  let first = 0;
  return Array.from(counts, (num) => {
    const range = [first, first + num];
    first += num;
    return Object.fromEntries(columns.map(([key, column]) => [key, column.subarray(...range)]));
  });
}

// Lanes from top to bottom: of each PE its tasks, its main thread, its microthreads.
function lanesOf(pes, way, [x, y]) {
  const place = { row: (i) => [i, y], column: (i) => [x, i], pe: () => [x, y] }[way];
  return pes.flatMap((spans, i) => {
    const lanes = new Map();
    spans.start.forEach((_, at) => {
      const kind = spans.kind[at] === TASK ? TASK : 1;
      const key = kind === TASK ? -2 : spans.thread[at] === MAIN ? -1 : spans.thread[at];
      if (!lanes.has(key)) lanes.set(key, { pe: place(i), thread: spans.thread[at], kind, spans, held: [], waits: [], all: [] });
      const lane = lanes.get(key);
      lane.all.push(at);
      (spans.kind[at] === WAIT ? lane.waits : lane.held).push(at);
    });
    const keys = [...lanes.keys()].sort((a, b) => a - b);
    return keys.map((key, nth) => {
      const label = key === -2 ? "tasks" : key === -1 ? "main thread" : `microthread ${key}`;
      const title = `(${place(i).join(", ")}) ${key < 0 ? label.split(" ")[0] : `thread ${key}`}`;
      return { ...lanes.get(key), label, title, isFirst: nth === 0 };
    });
  });
}

// The wavelets of all PEs, the earliest first; null: the run was not traced.
export async function movesOf(run) {
  if (!run.spans) return null;
  const found = await getBytes("moves");
  const total = found.byteLength / 14;
  const column = (Kind, at) => new Kind(found.slice(at * total, (at + Kind.BYTES_PER_ELEMENT) * total));
  return { cycle: column(Float64Array, 0), pe: column(Uint32Array, 8), color: column(Uint8Array, 12), side: column(Uint8Array, 13) };
}
