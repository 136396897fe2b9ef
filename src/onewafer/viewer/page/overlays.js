// What lies over the map: grid, programs, tensors, the routes of a color, wavelets, words, the
// chosen PE.

import { cutText } from "./time.js";
import { levelFor, OUTSIDE } from "./wafer.js";

const GRID_FROM = 14; // pixels a PE
const ARROWS_FROM = 12;
const WORDS_FROM = 84;
const GAP_FROM = 60; // from here on PEs stand apart
const STEPS = { west: [-1, 0], east: [1, 0], south: [0, 1], north: [0, -1], ramp: [0, 0] };
const ROUTE = "#ff3b7f";

// Draws all overlays; `state` has what is chosen, with its parts loaded.
export function drawOverlays(canvas, view, state) {
  const [width, height] = view.pixels;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = view.pixels;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const seen = visible(view);
  if (view.scale >= GRID_FROM) drawGrid(context, view, seen);
  if (state.regions) drawRegions(context, view, state.regions);
  if (state.tensor) drawTensor(context, view, seen, state.tensor, state.splits);
  if (state.route) drawRoute(context, view, seen, state.route);
  if (state.words && view.scale >= WORDS_FROM) drawWords(context, view, seen, state.words);
  if (state.moves) drawMoves(context, view, state.moves, state.cycle, state.color);
  if (state.pe) drawChosen(context, view, state.pe);
}

function visible(view) {
  const [x, y] = view.place(0, 0).map(Math.floor);
  const [endX, endY] = view.place(...view.pixels).map(Math.ceil);
  return {
    x: Math.max(x, 0),
    y: Math.max(y, 0),
    endX: Math.min(endX, view.width),
    endY: Math.min(endY, view.height),
  };
}

function drawGrid(context, view, { x, y, endX, endY }) {
  const isApart = view.scale >= GAP_FROM;
  context.strokeStyle = isApart ? canvasColor(context, "--stage") : "rgb(128 128 128 / 0.55)";
  context.lineWidth = isApart ? Math.round(0.05 * view.scale) : 1;
  context.beginPath();
  const [left, top] = view.pixel(x, y);
  const [right, bottom] = view.pixel(endX, endY);
  for (let i = x; i <= endX; i++) line(context, view.pixel(i, 0)[0], top, view.pixel(i, 0)[0], bottom);
  for (let j = y; j <= endY; j++) line(context, left, view.pixel(0, j)[1], right, view.pixel(0, j)[1]);
  context.stroke();
}

function canvasColor(context, name) {
  return getComputedStyle(context.canvas).getPropertyValue(name).trim();
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
}

// Draws lines between PEs of different programs.
function drawRegions(context, view, { levels }) {
  const number = levelFor(view.scale, levels.length);
  const { codes, size } = levels[number];
  const side = 1 << number;
  const seen = visible(view);
  const [x0, y0] = [seen.x >> number, seen.y >> number];
  const [x1, y1] = [Math.min(size[0], (seen.endX >> number) + 1), Math.min(size[1], (seen.endY >> number) + 1)];
  const at = (x, y) => (x < 0 || y < 0 || x >= size[0] || y >= size[1] ? 0 : codes[y * size[0] + x]);
  context.beginPath();
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      const [left, top] = view.pixel(x * side, y * side);
      if (at(x, y) !== at(x - 1, y)) line(context, left, top, left, top + side * view.scale);
      if (at(x, y) !== at(x, y - 1)) line(context, left, top, left + side * view.scale, top);
    }
  }
  context.strokeStyle = "#fff";
  context.lineWidth = 3;
  context.stroke();
  context.strokeStyle = "#000";
  context.lineWidth = 1;
  context.stroke();
}

export function heldAt(split, x, y) {
  const place = split.axis === "x" ? x : split.axis === "y" ? y : 0;
  return split.blocks[place] ?? [];
}

export function rangesText(ranges) {
  if (ranges.length === 0) return "none";
  return ranges.map(([first, end]) => (end - first === 1 ? `${first}` : `${first}–${end - 1}`)).join(", ");
}

// Darkens PEs that hold nothing of a tensor, and writes what the others hold.
function drawTensor(context, view, seen, tensor, splits) {
  const [rows, columns] = [splits[tensor.rows], splits[tensor.columns]];
  context.fillStyle = "rgb(0 0 0 / 0.6)";
  for (const split of [rows, columns]) {
    if (split.axis === "") continue;
    const isX = split.axis === "x";
    const [first, end] = isX ? [seen.x, seen.endX] : [seen.y, seen.endY];
    for (let i = first; i < end; i++) {
      if (heldAt(split, i, i).length > 0) continue;
      const [left, top] = view.pixel(isX ? i : seen.x, isX ? seen.y : i);
      const [right, bottom] = view.pixel(isX ? i + 1 : seen.endX, isX ? seen.endY : i + 1);
      context.fillRect(left, top, right - left, bottom - top);
    }
  }
}

// Writes what is known of each PE into it; `wordsOf` returns lines of text.
function drawWords(context, view, seen, wordsOf) {
  const size = Math.round(Math.min(13, view.scale / 8) * (globalThis.devicePixelRatio || 1));
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  const inset = 0.07 * view.scale;
  for (let y = seen.y; y < seen.endY; y++) {
    for (let x = seen.x; x < seen.endX; x++) {
      const texts = wordsOf(x, y);
      const [left, top] = view.pixel(x, y);
      context.fillStyle = "rgb(0 0 0 / 0.72)";
      context.fillRect(left + inset, top + inset, view.scale - 2 * inset, (1.25 * texts.length + 0.4) * size);
      context.fillStyle = "#fff";
      texts.forEach((text, i) => {
        const shown = cutText(context, text, view.scale - 2 * inset - 8);
        context.fillText(shown, left + inset + 4, top + inset + (0.3 + 1.25 * i) * size);
      });
    }
  }
}

const WAVELETS = ["#ff3b7f", "#ffb000", "#19c9ff", "#b06cff", "#3ddc6b", "#ff7847", "#f2f25a", "#5a8bff"];
const SIDES = ["west", "east", "south", "north", "ramp"];

// Draws the wavelets that are on their way in a cycle, of one color if one is chosen.
function drawMoves(context, view, moves, cycle, wanted) {
  const now = Math.floor(cycle);
  const way = Math.min(1, 0.15 + (cycle - now) * 0.85); // from router to router
  const radius = Math.max(1.5, Math.min(9, view.scale / 7));
  context.lineWidth = 1;
  context.strokeStyle = "#000";
  for (let i = firstFrom(moves.cycle, now); i < moves.cycle.length && moves.cycle[i] === now; i++) {
    if (wanted !== null && moves.color[i] !== wanted) continue;
    const x = moves.pe[i] % view.width;
    const y = Math.floor(moves.pe[i] / view.width);
    const [dx, dy] = STEPS[SIDES[moves.side[i]]];
    const isDown = moves.side[i] === 4;
    context.fillStyle = WAVELETS[moves.color[i] % WAVELETS.length];
    context.beginPath();
    const at = view.pixel(x + 0.5 + way * dx, y + 0.5 + way * dy + (isDown ? 0.25 * way : 0));
    context.arc(...at, isDown ? radius * (1.2 - 0.6 * way) : radius, 0, 2 * Math.PI);
    context.fill();
    if (radius > 3) context.stroke();
  }
}

// The first place in numbers in order that is not below one.
export function firstFrom(numbers, least) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] >= least) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Draws which routers know a color; of near PEs, the way of a wavelet.
function drawRoute(context, view, seen, { configs, numbers, width }) {
  context.strokeStyle = ROUTE;
  context.fillStyle = ROUTE;
  if (view.scale < ARROWS_FROM) {
    tint(context, view, numbers, width);
    return;
  }
  context.lineWidth = Math.max(1.5, view.scale / 24);
  for (let y = seen.y; y < seen.endY; y++) {
    for (let x = seen.x; x < seen.endX; x++) {
      const config = configs[numbers[y * width + x]];
      if (config) drawWays(context, view, x + 0.5, y + 0.5, config);
    }
  }
}

function tint(context, view, numbers, width) {
  const image = context.createImageData(...view.pixels);
  const pixels = new Uint32Array(image.data.buffer);
  const columns = view.columns();
  const rows = view.rows();
  for (let py = 0; py < rows.length; py++) {
    if (rows[py] === OUTSIDE) continue;
    for (let px = 0; px < columns.length; px++) {
      const x = columns[px];
      if (x !== OUTSIDE && numbers[rows[py] * width + x] !== 0) {
        pixels[py * columns.length + px] = 0xb07f3bff;
      }
    }
  }
  context.drawImage(toCanvas(image), 0, 0);
}

function toCanvas(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function drawWays(context, view, x, y, { positions, current }) {
  const ways = positions[current];
  if (!ways) return;
  for (const name of ways.from) {
    const [dx, dy] = STEPS[name];
    context.beginPath();
    context.moveTo(...view.pixel(x + dx / 2, y + dy / 2));
    context.lineTo(...view.pixel(x, y));
    context.stroke();
    if (name === "ramp") ring(context, view, x, y, 0.13, true);
  }
  for (const name of ways.to) {
    if (name === "ramp") ring(context, view, x, y, 0.22, false);
    else arrow(context, view, x, y, STEPS[name]);
  }
}

function ring(context, view, x, y, radius, isFilled) {
  context.beginPath();
  context.arc(...view.pixel(x, y), radius * view.scale, 0, 2 * Math.PI);
  if (isFilled) context.fill();
  else context.stroke();
}

function arrow(context, view, x, y, [dx, dy]) {
  const along = (far, side) => view.pixel(x + far * dx - side * dy, y + far * dy + side * dx);
  context.beginPath();
  context.moveTo(...view.pixel(x, y));
  context.lineTo(...along(0.42, 0));
  context.stroke();
  context.beginPath();
  context.moveTo(...along(0.5, 0));
  context.lineTo(...along(0.34, 0.1));
  context.lineTo(...along(0.34, -0.1));
  context.fill();
}

function drawChosen(context, view, [x, y]) {
  const [left, top] = view.pixel(x, y);
  const side = Math.max(view.scale, 5);
  const middle = (view.scale - side) / 2;
  for (const [color, width] of [
    ["#000", 5],
    ["#fff", 2.5],
  ]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.strokeRect(left + middle - 1, top + middle - 1, side + 2, side + 2);
  }
}
