// One PE over time: its row and its column as pictures, and its values, window by window.

import { element } from "./elements.js";
import { getBytes, getJson, isFile } from "./parts.js";
import { count, quantity } from "./units.js";

// Pictures of the row and the column of a PE: window by window from left to right.
export async function timesOfPe(run, map, isSampled, [x, y], palette) {
  if (run.other || !isSampled) return []; // of two runs the maps are enough
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
