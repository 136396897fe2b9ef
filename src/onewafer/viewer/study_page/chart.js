// A chart of points: one column to the right, one up, one as color. What a point lacks is a cross
// at the foot of the chart.

import { number, seconds } from "./units.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { left: 76, right: 18, top: 12, bottom: 62 };
const FOOT = 16; // pixels of the strip of points without an answer
const MANY = 300; // points of which each is a small one
const MOST_COLORS = 8; // more values than these are one scale
const MOST_TICKS = 8;
const LOG_FROM = 30; // ratio of the ends of an axis
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A value of a column as people write it.
export function written(value, unit) {
  if (typeof value !== "number") return String(value);
  if (unit === "s") return seconds(value);
  if (unit === "KiB") return `${number(value / 1024)} KiB`;
  if (unit === "") return number(value);
  const [scale, prefix] = PREFIXES.find(([one]) => Math.abs(value) >= one) ?? PREFIXES.at(-1);
  return `${number(value / scale)} ${prefix}${unit}`;
}

export function distinct(values) {
  const found = [...new Set(values.filter((value) => value !== null))];
  return found.every((value) => typeof value === "number") ? found.sort((a, b) => a - b) : found;
}

// An axis: `at` says where a value is, 0 to 1; `ticks` are values.
function axis(values, column) {
  const known = distinct(values);
  if (!column.is_number) return { at: (value) => (known.indexOf(value) + 0.5) / known.length, ticks: known };
  const [low, high] = [known[0] ?? 0, known.at(-1) ?? 1];
  const isLog = low > 0 && high / low > LOG_FROM;
  const to = isLog ? Math.log : (value) => value;
  const first = column.is_input || isLog ? to(low) : Math.min(0, low);
  const width = to(high) - first || 1;
  const at = (value) => (to(high) === first ? 0.5 : 0.03 + (0.94 * (to(value) - first)) / width);
  if (column.is_input && known.length <= MOST_TICKS) return { at, ticks: known };
  return { at, ticks: isLog ? powers(low, high) : rounds(first, first + width) };
}

function rounds(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * 1.0001; i++) found.push(i * step);
  return found;
}

function powers(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) found.push(10 ** power);
  return found.length > 1 ? found : [low, high];
}

// The color of each value of a column, and the entries of the legend.
export function colorsOf(rows, column, index) {
  if (!column) return { colorOf: () => "var(--series-0)", entries: [] };
  const known = distinct(rows.map((row) => row.values[index]));
  if (known.length <= MOST_COLORS || !column.is_number) {
    const colorOf = (value) => `var(--series-${Math.min(known.indexOf(value), MOST_COLORS - 1)})`;
    const entries = known.slice(0, MOST_COLORS).map((value) => [colorOf(value), written(value, column.unit)]);
    if (known.length > MOST_COLORS) entries.at(-1)[1] = `${known.length - MOST_COLORS + 1} others`;
    return { colorOf: (value) => (value === null ? "var(--other)" : colorOf(value)), entries };
  }
  const [low, high] = [known[0], known.at(-1)];
  const colorOf = (value) => (value === null ? "var(--other)" : mixed((value - low) / (high - low)));
  return { colorOf, entries: [low, (low + high) / 2, high].map((one) => [colorOf(one), written(one, column.unit)]) };
}

function mixed(share) {
  const place = share * (SCALE.length - 1);
  const i = Math.min(Math.floor(place), SCALE.length - 2);
  const parts = SCALE[i].map((one, k) => Math.round(one + (place - i) * (SCALE[i + 1][k] - one)));
  return `rgb(${parts.join(" ")})`;
}

// Draws points; `choose` gets the row that was chosen, `isFront` joins those of the front by a line.
export function drawChart(place, { rows, columns, x, y, colorOf, chosen, choose, isFront, label }) {
  const [width, height] = [Math.max(place.clientWidth, 260), place.clientWidth < 500 ? 304 : 352];
  const [across, up] = [axis(rows.map((row) => row.values[x]), columns[x]), axis(rows.map((row) => row.values[y]), columns[y])];
  const foot = height - MARGIN.bottom;
  const toX = (value) => MARGIN.left + across.at(value) * (width - MARGIN.left - MARGIN.right);
  const toY = (value) => foot - FOOT - up.at(value) * (foot - FOOT - MARGIN.top);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", tabindex: 0, "aria-label": label });
  drawAxes(svg, { across, up, toX, toY, width, foot, columns, x, y });
  const isDrawn = (row) => (row.values[x] ?? null) !== null;
  const onFront = rows.filter((row) => isDrawn(row) && row.front && row.values[y] !== null).sort((a, b) => a.values[x] - b.values[x]);
  if (isFront && onFront.length > 1) {
    const line = onFront.map((row) => `${toX(row.values[x])},${toY(row.values[y])}`).join(" ");
    svg.append(shape("polyline", { class: "front", points: line }));
  }
  const radius = rows.length > MANY ? 3 : 6;
  rows.forEach((row, i) => isDrawn(row) && svg.append(mark(row, i, { x, y, toX, toY, foot, radius, colorOf, chosen })));
  for (const kind of ["click", "pointerover"]) {
    svg.addEventListener(kind, ({ target }) => target.dataset.place && choose(rows[target.dataset.place], kind === "click"));
  }
  place.replaceChildren(svg);
}

function drawAxes(svg, { across, up, toX, toY, width, foot, columns, x, y }) {
  for (const value of up.ticks) {
    svg.append(shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(value), y2: toY(value) }));
    const text = written(value, columns[y].unit).slice(0, 11);
    svg.append(shape("text", { x: MARGIN.left - 6, y: toY(value) + 4, "text-anchor": "end" }, text));
  }
  let end = 0; // of the label before: none covers another one
  for (const value of across.ticks) {
    const text = written(value, columns[x].unit).slice(0, 18);
    svg.append(shape("line", { class: "grid", x1: toX(value), x2: toX(value), y1: MARGIN.top, y2: foot }));
    const half = 3.6 * text.length;
    if (toX(value) - half < end) continue;
    end = toX(value) + half + 6;
    svg.append(shape("text", { x: toX(value), y: foot + 18, "text-anchor": "middle" }, text));
  }
  const middle = (MARGIN.left + width - MARGIN.right) / 2;
  svg.append(shape("text", { x: middle, y: foot + 42, "text-anchor": "middle" }, columns[x].name));
  const turned = `translate(14 ${(foot + MARGIN.top) / 2}) rotate(-90)`;
  svg.append(shape("text", { transform: turned, "text-anchor": "middle" }, columns[y].name));
}

function mark(row, place, { x, y, toX, toY, foot, radius, colorOf, chosen }) {
  const isKnown = row.values[y] !== null;
  const kinds = ["mark", row.front && "on-front", row.id === chosen && "chosen", !isKnown && "cross"];
  const at = toX(row.values[x]);
  const made = isKnown
    ? shape("circle", { cx: at, cy: toY(row.values[y]), r: radius, fill: colorOf(row) })
    : shape("path", { d: `M${at - 4} ${foot - 12}l8 8m0 -8l-8 8` });
  if (!isKnown) made.style.setProperty("--color", colorOf(row));
  made.setAttribute("class", kinds.filter(Boolean).join(" "));
  made.dataset.place = place;
  return made;
}

// Gives the mark of a row, by its place among the rows, the looks of the chosen one.
export function markChosen(chart, place) {
  chart.querySelector(".chosen")?.classList.remove("chosen");
  chart.querySelector(`[data-place="${place}"]`)?.classList.add("chosen");
}
