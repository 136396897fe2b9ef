// What a model computes: a table of operations with their cycles, and the lines of the script.

import { element, table } from "./elements.js";
import { getJson } from "./parts.js";
import { count, percent, seconds } from "./units.js";

const [NUM, TEXT] = ["number", "name"];
const LINES_AROUND = 25;
const OPERATION_MAP = "operation-";

// The number of the operation that a map is of; null: it is of none.
export function operationOf(map) {
  return map.startsWith(OPERATION_MAP) ? Number(map.slice(OPERATION_MAP.length)) : null;
}

export function mapOfOperation(index) {
  return `${OPERATION_MAP}${index}`;
}

// The operations of a run, or of the PE whose counters are given, then the script.
export async function operationsTab(run, chosen, counters, choose) {
  const seen = run.windows.length > 0;
  const about = counters
    ? "Cycles that this PE was at each operation, its waits for others included, beside the cycles until the last PE was done with it."
    : "Cycles until the last PE was done with each operation, by looks at all PEs while they ran; beside them what the closed form expects of a launch. Choose one: the map shows how long each PE was at it.";
  const parts = [element("p", { class: "faint" }, about), tableOf(run, chosen, counters, choose, seen)];
  const operation = run.operations[chosen];
  if (operation) parts.push(element("div", { class: "script-part" }, ...(await scriptParts(run, operation))));
  return parts;
}

function tableOf(run, chosen, counters, choose, seen) {
  const columns = [["operation", TEXT], ["line", "source"], [counters ? "this PE" : "cycles", NUM], [counters ? "last PE" : "expected", NUM], ["moving", NUM]];
  const rows = [];
  let launch = null;
  run.operations.forEach((one, index) => {
    if (one.launch !== launch) {
      ({ launch } = one);
      rows.push({ heading: headingOf(run, launch) });
    }
    rows.push(rowOf(run, one, index, { chosen, counters, choose, seen }));
  });
  return table(columns, rows);
}

function headingOf(run, launch) {
  const found = run.launches.filter(({ name }) => name === launch);
  const cycles = found.reduce((sum, { start_cycle: start, end_cycle: end }) => sum + end - start, 0);
  if (found.length === 0) return `${launch}: not launched in this recording`;
  const times = found.length > 1 ? `${count(found.length)} times, ` : "";
  return `${launch}: ${times}${count(cycles)} cycles, ${seconds(cycles / run.clock_hertz)}`;
}

function rowOf(run, one, index, { chosen, counters, choose, seen }) {
  const [work, moving] = counters
    ? [2 * index, 2 * index + 1].map((step) => counters[`step_${step}_cycles`] ?? 0)
    : [one.work ?? 0, one.collective ?? 0];
  const total = work + moving;
  const expected = one.work_cycles + one.collective_cycles;
  const last = (one.work ?? 0) + (one.collective ?? 0);
  const share = total > 0 ? moving / total : 0;
  const rounds = one.rounds > 1 ? ` × ${one.rounds}` : "";
  return {
    cells: [
      element("button", { onclick: () => choose(index), title: one.shape.length ? `result ${one.shape.join("×")}` : undefined }, `${one.title}${rounds}`),
      element("span", { title: one.source }, one.source.replace(/^.*\//, "")),
      seen ? count(total) : "",
      count(counters ? last : expected),
      seen && total > 0 ? percent(share) : "",
    ],
    attributes: { class: index === chosen ? "named" : undefined, "data-operation": index },
  };
}

// The lines of the script around that of an operation, with the cycles of each line.
async function scriptParts(run, operation) {
  const cut = operation.source.lastIndexOf(":");
  const [file, number] = [operation.source.slice(0, cut), Number(operation.source.slice(cut + 1))];
  const text = cut > 0 ? (await getJson("scripts.json"))[file] : undefined;
  const title = element("h4", { title: operation.source }, operation.source.replace(/^.*\//, "") || operation.title);
  if (text === undefined) return [title, element("p", { class: "faint" }, "No line of the script is known for it.")];
  const cycles = new Map();
  for (const one of run.operations) {
    if (one.work !== null) cycles.set(one.source, (cycles.get(one.source) ?? 0) + one.work + one.collective);
  }
  const lines = text.split("\n");
  const first = Math.max(0, number - 1 - LINES_AROUND);
  const rows = lines.slice(first, number + LINES_AROUND).map((line, i) => {
    const at = first + i + 1;
    const taken = cycles.get(`${file}:${at}`);
    return {
      cells: [`${at}`, taken ? count(taken) : "", element("code", {}, line)],
      attributes: { class: at === number ? "named" : undefined },
    };
  });
  const script = element("div", { class: "script", tabindex: 0, role: "group", "aria-label": `The script at ${operation.source}` },
    table([["line", NUM], ["cycles", NUM], ["source"]], rows));
  return [title, script];
}
