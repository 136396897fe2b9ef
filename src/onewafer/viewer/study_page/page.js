// The page of a study: its points as a chart and a table, while a sweep computes them and after.

import { colorsOf, drawChart, markChosen, shape, written } from "./chart.js";
import { by, element, table } from "./elements.js";
import { forget, getJson } from "./parts.js";
import { count, seconds } from "./units.js";

const ROWS = 100; // on a page of the table
const LARGEST_SHARE = 0.2; // of the time may go into drawing while a sweep goes on
const MEMORY = ["weight_bytes", "cache_bytes", "memory_used_bytes", "memory_available_bytes"];
const CHOICES = ["x", "y", "color"];

let study = { columns: [], rows: [] };
let chosen = null; // the id of a row
let order = null; // [column, whether the largest is first]
let first = 0; // row of the table

const said = new URLSearchParams(location.hash.slice(1));
const indexOf = (name) => study.columns.findIndex((column) => column.name === name);
const value = (row, name) => (indexOf(name) < 0 ? null : row.values[indexOf(name)]);

async function renew() {
  forget();
  study = await getJson("study.json");
  document.title = `${study.title}, a study`;
  by("title").textContent = study.title;
  const isEmpty = study.is_awaited || !study.rows.length;
  by("empty").hidden = !isEmpty;
  by("empty").textContent = "No point is computed yet: this page follows when onewafer sweep computes them.";
  by("top").hidden = by("points").hidden = isEmpty;
  document.documentElement.dataset.ready = "1";
  if (isEmpty) return;
  showFacts();
  fillChoices();
  show();
}

function showFacts() {
  const [done, all] = [study.rows.length, study.num_points];
  by("facts").textContent = study.fixed.map(([name, text]) => `${name} ${text}`).join(" · ");
  by("progress").max = Math.max(all, 1);
  by("progress").value = done;
  const kinds = ["answered", "refused", "failed"];
  const counts = kinds.map((kind) => [study.rows.filter((row) => row.status === kind).length, kind]);
  const text = counts.filter(([number]) => number).map(([number, kind]) => `${count(number)} ${kind}`);
  by("count").textContent = `${count(done)} of ${count(all)} points: ${text.join(", ")}`;
}

// Keeps what was chosen: before that what the link says, or what the study asks.
function fillChoices() {
  const names = study.columns.map(({ name }) => name);
  const inputs = study.columns.filter(({ is_input }) => is_input).map(({ name }) => name);
  const wanted = study.columns.filter((column) => column.wanted).map(({ name }) => name);
  const figures = study.columns.filter((column) => !column.is_input && column.is_number).map(({ name }) => name);
  const usual = { x: inputs[0], y: wanted[0] ?? figures[0] ?? names[0], color: inputs[1] ?? "" };
  for (const choice of CHOICES) {
    const list = by(choice);
    const picked = said.get(choice); // by the link, or by the user since
    const options = choice === "color" ? ["", ...names] : names;
    if (list.options.length !== options.length) {
      list.replaceChildren(...options.map((name) => element("option", { value: name }, name || "none")));
      list.value = options.includes(picked) ? picked : usual[choice];
    }
  }
}

function show() {
  if (!study.rows.some((row) => row.id === chosen)) chosen = (study.rows.find((row) => row.front) ?? study.rows[0]).id;
  showChart();
  showPoint();
  showTable();
}

// A mark of a legend: a dot of a color, a ring, or a cross.
function dot(kind, fill = "none", stroke = kind === "path" ? "currentColor" : "none") {
  const form = kind === "path" ? { d: "M2 2l8 8m0 -8l-8 8" } : { cx: 6, cy: 6, r: 5 };
  const mark = shape(kind, { ...form, fill, stroke, "stroke-width": 2 });
  return shape("svg", { viewBox: "0 0 12 12", class: "dot", "aria-hidden": "true" }, mark);
}

function showChart() {
  const [x, y, color] = CHOICES.map((choice) => indexOf(by(choice).value));
  const { columns } = study;
  const { colorOf, entries } = colorsOf(study.rows, columns[color], color);
  const wanted = columns.filter((column) => column.wanted).map(({ name }) => name);
  const isFront = wanted.length === 2 && [x, y].every((one) => columns[one].wanted) && x !== y;
  const label = `${columns[y].name} over ${columns[x].name}; arrow keys go from point to point`;
  const toColor = (row) => colorOf(row.values[color] ?? null);
  drawChart(by("chart"), { rows: study.rows, columns, x, y, colorOf: toColor, chosen, choose, isFront, label });
  const items = entries.map(([fill, text]) => [dot("circle", fill), text]);
  if (color >= 0) items.unshift([`${columns[color].name}:`]);
  if (study.rows.some((row) => row.values[y] === null)) {
    items.push([dot("path"), "refused or failed"]);
  }
  if (study.rows.some((row) => row.front)) {
    items.push([dot("circle", "none", "currentColor"), "Pareto front"]);
  }
  by("legend").replaceChildren(...items.map((parts) => element("li", {}, ...parts)));
}

function choose(row, isClick = true) {
  if (row.id === chosen) return;
  chosen = row.id;
  showPoint();
  if (!isClick) return;
  markChosen(by("chart"), study.rows.indexOf(row));
  first = ROWS * Math.floor(Math.max(tableRows().indexOf(row), 0) / ROWS);
  showTable();
}

function showPoint() {
  const row = study.rows.find((one) => one.id === chosen);
  const status = row.front ? `${row.status}, on the Pareto front` : row.status;
  const parts = [element("h2", {}, `Point: ${status}`)];
  if (row.reason) parts.push(element("p", {}, row.reason));
  parts.push(...memoryOf(row));
  const places = study.columns.map((_, i) => i).filter((i) => row.values[i] !== null);
  const shown = places.filter((i) => row.status === "answered" || !MEMORY.includes(study.columns[i].name));
  const known = shown.map((i) => [study.columns[i].name, row.texts[i]]);
  parts.push(table([["column"], ["value", "number"]], known));
  if (row.breakdown.length) {
    const lines = row.breakdown.map(([name, time, limit]) => [name, time === null ? "" : seconds(time), limit]);
    parts.push(element("h2", {}, "Its time"), table([["part"], ["time", "number"], ["limit"]], lines));
  }
  by("point").replaceChildren(...parts);
}

// The memory of a refused point: its terms, the one that passes what there is, and the bar of both.
function memoryOf(row) {
  const [weights, caches, used, available] = MEMORY.map((name) => value(row, name));
  if (row.status !== "refused" || used === null || !available || used <= available) return [];
  const known = weights === null ? [] : [["weights", weights], ["caches", caches ?? 0]];
  const rest = known.reduce((sum, [, bytes]) => sum - bytes, used);
  const terms = [...known, [known.length ? "buffers and the rest" : "everything together", rest]];
  let sum = 0;
  const breaking = terms.find(([, bytes]) => (sum += bytes) > available);
  const bar = shape("svg", { class: "memory", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let start = 0;
  terms.forEach(([, bytes], i) => {
    const width = (100 * bytes) / used;
    bar.append(shape("rect", { x: start, y: 2, width, height: 6, fill: `var(--series-${i})` }));
    start += width;
  });
  const limit = (100 * available) / used;
  bar.append(shape("line", { class: "limit", x1: limit, x2: limit, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" }));
  const lines = terms
    .filter(([, bytes]) => bytes > 0)
    .map((one) => {
      const isBreaking = one === breaking;
      const text = `${one[0]} ${written(one[1], "B")}${isBreaking ? ": does not fit" : ""}`;
      return element("li", { class: isBreaking ? "breaks" : undefined }, dot("circle", `var(--series-${terms.indexOf(one)})`), text);
    });
  const text = `It would take ${written(used, "B")}; there are ${written(available, "B")} (the line).`;
  return [element("p", {}, text), bar, element("ul", { class: "terms" }, ...lines)];
}

function inOrder(rows) {
  if (order === null) return rows;
  const [i, isFalling] = order;
  const sign = isFalling ? -1 : 1;
  const compare = (a, b) => (a < b ? -sign : a > b ? sign : 0);
  const isAbsent = (row) => row.values[i] === null;
  const known = rows.filter((row) => !isAbsent(row));
  return [...known.sort((a, b) => compare(a.values[i], b.values[i])), ...rows.filter(isAbsent)];
}

function tableRows() {
  const wanted = by("shown").value;
  return inOrder(study.rows.filter((row) => wanted === "all" || (wanted === "front" ? row.front : row.status === wanted)));
}

function turn(step) {
  first += step * ROWS;
  showTable();
  by("table").scrollTo(0, 0);
}

function showTable() {
  const rows = tableRows();
  const end = Math.min(first + ROWS, rows.length);
  const shown = rows.slice(first, end);
  const whole = `${count(rows.length)} of ${count(study.rows.length)}`;
  by("shown-count").textContent = shown.length < rows.length ? `${count(first + 1)} to ${count(end)} of ${count(rows.length)}` : whole;
  by("before").hidden = by("after").hidden = shown.length === rows.length;
  by("before").disabled = first === 0;
  by("after").disabled = end === rows.length;
  const places = study.columns.map((column, i) => i).filter((i) => !MEMORY.includes(study.columns[i].name));
  const heads = places.map((i) => {
    const column = study.columns[i];
    const sign = order?.[0] === i ? (order[1] ? " ↓" : " ↑") : "";
    const sort = () => {
      order = [i, order?.[0] === i ? !order[1] : column.wanted === "max"];
      first = 0;
      showTable();
      by("table").querySelectorAll("th button")[places.indexOf(i)].focus();
    };
    return [element("button", { onclick: sort }, column.name + sign), column.is_number ? "number" : undefined];
  });
  const made = shown.map((row) => {
    const status = element("button", { onclick: () => choose(row), "aria-pressed": row.id === chosen }, row.front ? "front" : row.status);
    const cells = [status, ...places.map((i) => row.texts[i]), element("span", { title: row.reason }, row.reason)];
    return { cells, attributes: { class: row.id === chosen ? "chosen" : undefined, onclick: () => choose(row) } };
  });
  const [top, left] = [by("table").scrollTop, by("table").scrollLeft];
  by("table").replaceChildren(table([["status"], ...heads, ["reason", "reason"]], made));
  by("table").scrollTo(left, top);
}

function start() {
  for (const choice of CHOICES) {
    by(choice).addEventListener("change", () => {
      said.set(choice, by(choice).value);
      history.replaceState(null, "", `#${said}`);
      showChart();
    });
  }
  by("shown").addEventListener("change", () => turn(-first / ROWS));
  by("before").addEventListener("click", () => turn(-1));
  by("after").addEventListener("click", () => turn(1));
  by("chart").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const x = indexOf(by("x").value);
    const rows = [...study.rows].sort((a, b) => (a.values[x] < b.values[x] ? -1 : a.values[x] > b.values[x] ? 1 : 0));
    const at = rows.findIndex((row) => row.id === chosen) + step;
    if (rows[at]) choose(rows[at]);
    by("chart").querySelector("svg").focus();
  });
  window.addEventListener("resize", () => study.rows.length && showChart());
  follow();
}

// Draws the study when it has changed; a large one that is slow to draw is drawn more rarely.
async function follow() {
  let isBehind = false;
  let wake = () => {};
  new EventSource("/events").addEventListener("message", () => {
    isBehind = true;
    wake();
  });
  for (;;) {
    if (!isBehind) await new Promise((resolve) => (wake = resolve));
    isBehind = false;
    const began = performance.now();
    await renew().catch((error) => (by("count").textContent = error.message));
    const took = performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, took / LARGEST_SHARE - took));
  }
}

start();
