// What the memory of a PE is used for: of a run or a PE, and of a model over time.

import { element, table } from "./elements.js";
import { drawAxis, inks, prepare } from "./time.js";
import { bytes, count, percent } from "./units.js";

const USES = ["#4e79a7", "#f28e2b", "#76b7b2", "#e15759", "#59a14f", "#edc948", "#b07aa1", "#9c755f"];
const MOST_SYMBOLS = 60;

// Of the whole run: the fullest PE of a model with its activations over time, or all programs.
export function memoryOfRun(run, over) {
  const size = run.memory_bytes;
  const of = size ? ` of ${bytes(size)}` : "";
  if (run.memory.length === 0) {
    const parts = run.programs.map((program) => {
      const uses = Object.entries(program.sections);
      return [element("h4", {}, `${program.short}: ${bytes(program.num_bytes)}${of}, ${count(program.num_pes)} PEs`), bar(uses, size)];
    });
    const uses = [...new Set(run.programs.flatMap(({ sections }) => Object.keys(sections)))];
    const why = "The memory of a CSL program is laid out when it is compiled: it is the same from the begin of a run to its end. Choose a PE for its variables.";
    return [element("p", { class: "faint" }, why), legend(uses.map((use) => [use, useColor(uses, use)])), ...parts.flat()];
  }
  const total = run.memory.reduce((sum, [, one]) => sum + one, 0);
  const used = run.memory.map(([use]) => use);
  return [
    element("p", {}, `The fullest PE uses ${bytes(total)}${of}.`),
    bar(run.memory, size),
    usesTable(run.memory, used, total, size),
    ...overTime(run, over, used),
  ];
}

// Of one PE: what its program and its variables take.
export function memoryOfPe(run, program, address) {
  if (!program) return [element("p", {}, "It has no program: nothing of its memory is used.")];
  const sections = program.sections.map((one) => [one.kind, one.num_bytes]);
  const uses = sections.map(([use]) => use);
  const total = sections.reduce((sum, [, one]) => sum + one, 0);
  const of = run.memory_bytes ? ` of ${bytes(run.memory_bytes)}` : "";
  const variables = program.symbols.filter(({ kind }) => kind === "variable").sort((a, b) => b.num_bytes - a.num_bytes);
  const rows = variables.slice(0, MOST_SYMBOLS).map((one) => [one.name, bytes(one.num_bytes), address(one.address), one.element ?? ""]);
  const more = variables.length > MOST_SYMBOLS ? `, the ${MOST_SYMBOLS} largest` : "";
  return [
    element("p", {}, `Its program uses ${bytes(total)}${of}.`),
    bar(sections, run.memory_bytes),
    usesTable(sections, uses, total, run.memory_bytes),
    element("h4", {}, `Variables (${count(variables.length)}${more})`),
    table([["name", "name"], ["size", "number"], ["address", "number"], ["element"]], rows),
  ];
}

function useColor(uses, use) {
  return USES[uses.indexOf(use) % USES.length];
}

function usesTable(found, uses, total, size) {
  const rows = found.map(([use, one]) => [
    element("span", {}, swatch(useColor(uses, use)), use),
    bytes(one),
    percent(one / total),
    ...(size ? [percent(one / size)] : []),
  ]);
  const heads = [["use"], ["bytes", "number"], ["of what is used", "number"], ...(size ? [["of all", "number"]] : [])];
  return table(heads, rows);
}

function swatch(color) {
  const made = element("canvas", { class: "chip", width: 1, height: 1, "aria-hidden": "true" });
  const context = made.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return made;
}

function legend(known) {
  return element("ul", { class: "chips" }, ...known.map(([name, color]) => element("li", {}, swatch(color), name)));
}

function bar(found, size) {
  const uses = found.map(([use]) => use);
  const total = size ?? found.reduce((sum, [, one]) => sum + one, 0);
  const made = element("div", { class: "bar", "aria-hidden": "true" });
  for (const [use, one] of found) {
    const part = element("span", { title: `${use}: ${bytes(one)}` });
    part.style.width = `${(100 * one) / total}%`;
    part.style.background = useColor(uses, use);
    made.append(part);
  }
  return made;
}

// The activations that are in use, window by window, on what is there all the time.
function overTime(run, over, uses) {
  const live = over?.activations ?? [];
  const laidOut = run.memory.find(([use]) => use === "activations")?.[1];
  if (live.length === 0 || !laidOut) return [];
  const rest = run.memory.filter(([use]) => use !== "activations");
  const most = Math.max(...live);
  const said = `Of ${bytes(laidOut)} for activations, at most ${bytes(most)} are in use at a time; a place is used again when its tensor is read no more.`;
  const canvas = element("canvas", { class: "over-time", role: "img", "aria-label": `Memory over time: ${said}` });
  requestAnimationFrame(() => canvas.isConnected && drawOverTime(canvas, run, rest, live, laidOut, uses));
  return [element("h3", {}, "Over time"), canvas, element("p", { class: "faint" }, said)];
}

function drawOverTime(canvas, run, rest, live, laidOut, uses) {
  const { context, width, height, colors } = prepare(canvas);
  const left = 52;
  const top = 20;
  const size = run.memory_bytes ?? rest.reduce((sum, [, one]) => sum + one, laidOut);
  const y = (value) => height - 2 - (value / size) * (height - top - 4);
  const place = (cycle) => left + (cycle / Math.max(1, run.cycles)) * (width - left);
  drawAxis(context, { cycles: [0, Math.max(1, run.cycles)], left, width, top: 0, clock: run.clock_hertz }, colors);
  context.fillStyle = inks().faint;
  context.fillText(bytes(size), 0, y(size) + 2);
  context.fillText("0", 0, y(0) - 5);
  let below = 0;
  for (const [use, one] of rest) {
    context.fillStyle = useColor(uses, use);
    context.fillRect(left, y(below + one), width - left, y(below) - y(below + one));
    below += one;
  }
  context.fillStyle = useColor(uses, "activations");
  run.windows.forEach(({ start_cycle: start, end_cycle: end }, i) => {
    context.fillRect(place(start), y(below + live[i]), place(end) - place(start) + 0.5, y(below) - y(below + live[i]));
  });
  context.fillStyle = colors.ink;
  context.fillRect(left, y(below + laidOut), width - left, 1);
}
