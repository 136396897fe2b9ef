// The panel: the run as a whole, or one PE with its program.

import { count, element, quantity, table } from "./elements.js";
import { getJson, has, isFile } from "./parts.js";
import { heldAt, rangesText } from "./overlays.js";

const NUMBER = "number";
const NAME = "name";
const MOST_TENSORS = 400;
const HIDDEN = new Set(["x", "y", "program", "program_counter"]);

export function runPanel(run, choosePe, chooseTensor) {
  const { cycles, clock_hertz: clock, launches, num_launches: numLaunches } = run;
  const parts = [
    element("h2", {}, run.title),
    element("p", {}, `${count(run.width * run.height)} PEs, ${run.width}×${run.height}, of ${run.arch}, ` +
      `${run.profile} timing, ${run.engine} engine. ${count(cycles)} cycles, ` +
      `${(cycles / clock).toExponential(3)} s at ${count(clock / 1e6)} MHz.`),
  ];
  if (run.other) {
    const { title, cycles: others, change, ending } = run.other;
    parts.push(element("p", {}, `That is run A. Run B is ${title}: ${count(others)} cycles, ${change}. ${ending}`));
  }
  if (run.ending) parts.push(section("It did not end well", element("p", { class: "alert" }, run.ending)));
  parts.push(section("Tile programs", table(
    [["number", NUMBER], ["program", NAME], ["PEs", NUMBER], ["bytes", NUMBER], ["first PE", NUMBER]],
    run.programs.map((program) => [
      `${program.number}`,
      element("code", { class: "short", title: program.name }, distinctName(program, run.programs)),
      count(program.num_pes),
      count(program.num_bytes),
      element("button", { onclick: () => choosePe(program.first_pe) }, program.first_pe.join(", ")),
    ]),
  )));
  if (run.tensors.length > 0) {
    parts.push(section(`Tensors (${count(run.tensors.length)})`, table(
      [["name", NAME], ["role"], ["part"], ["shape"], ["bytes a PE", NUMBER]],
      run.tensors.slice(0, MOST_TENSORS).map((tensor, i) => [
        element("button", { onclick: () => chooseTensor(i) }, tensor.name),
        tensor.role,
        tensor.part,
        `${tensor.shape.join("×")} ${tensor.dtype}`,
        count(tensor.num_bytes),
      ]),
    )));
  }
  if (numLaunches > 0) {
    const more = numLaunches > launches.length ? `, the first ${launches.length}` : "";
    parts.push(section(`Launches (${count(numLaunches)}${more})`, table(
      [["function", NAME], ["from cycle", NUMBER], ["cycles", NUMBER]],
      launches.map((one) => [one.name, count(one.start_cycle), count(one.end_cycle - one.start_cycle)]),
    )));
  }
  return parts;
}

// What tells a program from the others: where all come from one file, what stands behind its name.
function distinctName({ name }, programs) {
  const fileOf = (one) => one.name.split(" (")[0];
  const isAlone = programs.length === 1 || new Set(programs.map(fileOf)).size > 1;
  const behind = name.slice(fileOf({ name }).length);
  return isAlone || !behind ? name.replace(/^\S*\//, "") : behind.trim();
}

// What was counted of a PE, or as much as a file without a server knows.
export async function countersOf(run, [x, y], folder = "") {
  if (!isFile) return getJson(`${folder}pes/${x}-${y}.json`);
  if (!has(`${folder}columns.json`)) return null;
  const columns = await getJson(`${folder}columns.json`);
  const place = y * run.width + x;
  return Object.fromEntries(Object.entries(columns).map(([name, all]) => [name, all[place]]));
}

// `known` has what is known without a server: values of maps, what was seen over time, and spans.
export async function pePanel(run, [x, y], number, known) {
  const counters = await countersOf(run, [x, y]);
  const program = number >= 0 ? await getJson(`programs/${number}.json`) : null;
  const parts = [element("h2", {}, `PE (${x}, ${y})`)];
  if (!program) parts.push(element("p", {}, "It has no program: only its router works."));
  const others = run.other ? await countersOf(run, [x, y], "b/") : null;
  if (counters) parts.push(...waitParts(run, program, counters), ...(await peerParts([x, y], counters, known.choosePe)));
  if (counters && others) parts.push(bothPart(counters, others));
  else if (counters) parts.push(cyclesPart(run, counters));
  else parts.push(valuesPart(run, known.rows));
  parts.push(...known.times.map(timesPart));
  if (known.spans) parts.push(spansPart(known.spans));
  parts.push(...tensorParts(run, [x, y]));
  if (program) parts.push(programPart(program, counters), ...memoryParts(program));
  if (counters && !others) parts.push(countersPart(counters), ...registerParts(counters));
  return parts;
}

// A part that can be closed.
function section(title, ...children) {
  return element("details", { open: "" }, element("summary", {}, element("h3", {}, title)), ...children);
}

function waitParts(run, program, counters) {
  const parts = [];
  const at = program?.places[counters.program_counter];
  if (at) parts.push(element("p", {}, "Its main thread stands at ", element("code", {}, at), "."));
  const reason = run.reasons[counters.waits_for];
  if (reason !== undefined) {
    const named = run.colors.find(({ color }) => color === counters.waits_for_color);
    const color = counters.waits_for_color >= 0 ? `, of color ${counters.waits_for_color}` : "";
    const name = named?.name ? ` (${named.name})` : "";
    const place = program?.places[counters.waits_at] ?? "";
    parts.push(element("p", { class: "alert" },
      `It waits since cycle ${count(counters.waits_since)}: ${reason}${color}${name}. ${place}`));
  }
  return parts;
}

// For whom a PE waits.
async function peerParts([x, y], counters, choosePe) {
  const path = `peers/${x}-${y}.json`;
  const peers = counters.waits_for >= 0 && has(path) ? await getJson(path) : null;
  if (!peers) return [];
  const { sends, pes, host, more } = peers;
  const named = pes.flatMap((pe) => [" ", element("button", { onclick: () => choosePe(pe) }, `PE (${pe.join(", ")})`)]);
  const others = `${host ? " the host" : ""}${more ? " and others" : ""}`;
  if (named.length === 0 && !others) {
    return [element("p", {}, sends ? "No route leads here from any PE." : "No route leads from here to any PE.")];
  }
  return [element("p", {}, sends ? "It waits for wavelets from" : "What it sends is to be taken by", ...named, others, ".")];
}

function cyclesPart(run, counters) {
  const waits = Object.entries(counters).filter(([name, value]) => name.startsWith("wait_") && value > 0);
  const share = (cycles) => quantity(cycles / Math.max(1, run.cycles), "share");
  const units = (cycles) => quantity(cycles / Math.max(1, run.cycles), "units");
  const rows = [
    ["busy", share(counters.busy_cycles), count(counters.busy_cycles)],
    ...waits
      .sort((a, b) => b[1] - a[1])
      .map(([name, value]) => [
        `waited: ${name.slice("wait_".length, -"_cycles".length).replaceAll("_", " ")}`,
        units(value),
        count(value),
      ]),
  ];
  const why = "Several units of a PE (threads, links) may wait in one cycle: waits are means of how many do.";
  return section("Cycles", table([["what", NAME], ["mean", NUMBER], ["cycles", NUMBER]], rows), element("p", { class: "faint" }, why));
}

function countersPart(counters) {
  const shown = Object.entries(counters).filter(
    ([name]) => !HIDDEN.has(name) && !/^wait|^window_|^register_|^step_/.test(name) && name !== "busy_cycles",
  );
  const rows = shown.map(([name, value]) => [
    name.replaceAll("_", " "),
    name === "energy_joules" ? quantity(value, "joules") : count(value),
  ]);
  return section("Counters", table([["what", NAME], ["value", NUMBER]], rows));
}

// The words in registers at the end of the run; the instructions of a line, in its title, name them.
function registerParts(counters) {
  const words = Object.entries(counters).filter(([name, value]) => name.startsWith("register_") && value !== 0);
  if (words.length === 0) return [];
  const rows = words.map(([name, value]) => [
    name.replace("register_", "r"),
    count(value),
    `0x${value.toString(16).padStart(8, "0")}`,
  ]);
  const why = "At the end of the run; all others are 0. The title of a source line has its instructions.";
  return [section("Registers", element("p", { class: "faint" }, why), table([["register", NAME], ["word", NUMBER], ["hexadecimal", NUMBER]], rows))];
}

// The counters of a PE in both runs, with what differs.
function bothPart(counters, others) {
  const names = Object.keys(counters).filter((name) => name in others && !HIDDEN.has(name) && !/^waits_|^window_|^register_|^step_/.test(name));
  const text = (name, value) => (name === "energy_joules" ? quantity(value, "joules") : count(value));
  const rows = names
    .filter((name) => counters[name] !== 0 || others[name] !== 0)
    .map((name) => [
      name.replaceAll("_", " "),
      ...[counters[name], others[name], others[name] - counters[name]].map((value) => text(name, value)),
    ]);
  return section("Both runs", table([["what", NAME], ["A", NUMBER], ["B", NUMBER], ["B − A", NUMBER]], rows));
}

function valuesPart(run, values) {
  const why = "In steps of 1/254 of the highest: this file has no more of so many PEs.";
  return section(
    "Values",
    element("p", { class: "faint" }, why),
    table([["map", NAME], ...(run.other ? ["A", "B", "B − A"] : ["value"]).map((name) => [name, NUMBER])], values),
  );
}

function timesPart({ title, pictures, values }) {
  const numbers = table([["cycles", NAME], ["about", NUMBER]], values);
  return section(title, ...pictures, element("details", {}, element("summary", {}, "Window by window"), numbers));
}

// What a PE does in the cycles that the timeline shows.
export function spansPart({ num, most, rows }) {
  const more = num > most ? `, the first ${count(most)}` : "";
  const part = section(`Tasks and operations in the timeline (${count(num)}${more})`, rows);
  part.id = "span-table";
  return part;
}

// Marks a source line in the panel, and shows it.
export function showLine(panel, place) {
  panel.querySelectorAll("tr.named").forEach((row) => row.classList.remove("named"));
  const row = [...panel.querySelectorAll("tr[data-place]")].find((one) => one.dataset.place === place);
  if (!row) return;
  row.classList.add("named");
  row.scrollIntoView({ block: "center" });
}

function tensorParts(run, [x, y]) {
  const held = run.tensors
    .map((tensor) => ({
      tensor,
      rows: heldAt(run.splits[tensor.rows], x, y),
      columns: heldAt(run.splits[tensor.columns], x, y),
    }))
    .filter(({ rows, columns }) => rows.length > 0 && columns.length > 0);
  if (held.length === 0) return [];
  return [
    section(`Tensors (${count(held.length)})`, table(
      [["name", NAME], ["part"], ["rows"], ["columns"]],
      held.slice(0, MOST_TENSORS).map(({ tensor, rows, columns }) => [
        `${tensor.name} ${tensor.shape.join("×")} (${tensor.role})`,
        tensor.part,
        rangesText(rows),
        rangesText(columns),
      ]),
    )),
  ];
}

function programPart(program, counters) {
  const here = program.places[counters?.program_counter];
  const about = "Cycles of the main thread if each instruction of a line runs once; ≥: it waits, or takes " +
    `as long as only a run knows. The immediates are those of PE (${program.pe.join(", ")}).`;
  const files = new Map(); // by path, in the order of the code
  for (const line of program.lines) {
    const path = line.path ?? "without a source line";
    if (!files.has(path)) files.set(path, []);
    files.get(path).push(lineRow(line, here === `${line.path}:${line.line}`));
  }
  const columns = [["line", NUMBER], ["cycles", NUMBER], ["bytes", NUMBER], ["source"]];
  const tables = [...files].flatMap(([path, rows]) => [element("h4", {}, path), table(columns, rows)]);
  const name = element("p", {}, element("code", {}, program.name));
  return section(`Program ${program.program}`, name, element("p", { class: "faint" }, about), ...tables);
}

function lineRow(line, isHere) {
  const why = Object.entries(line.cycles.why ?? {}).map(([reason, n]) => `${reason} ${n}`);
  const cells = [
    line.line ? `${line.line}` : "",
    costText(line.cycles),
    count(line.num_bytes),
    element("code", { title: line.instructions.map(({ text }) => text).join("\n") }, line.source ?? line.instructions[0].text),
  ];
  const place = line.line ? `${line.path}:${line.line}` : undefined;
  return { cells, attributes: { class: isHere ? "here" : undefined, title: why.join(", "), "data-place": place } };
}

function costText({ least, most }) {
  if (most === null) return `≥ ${count(least)}`;
  return least === most ? count(least) : `${count(least)}–${count(most)}`;
}

function memoryParts(program) {
  const sections = program.sections.map((one) => [one.kind, address(one.address), count(one.num_bytes)]);
  const variables = program.symbols.filter(({ kind }) => kind === "variable");
  const symbols = variables.map((one) => [one.name, address(one.address), count(one.num_bytes), one.element ?? ""]);
  const queues = program.queues.map((one) => [
    `${one.is_input ? "input" : "output"} ${one.queue}`,
    one.name ? `${one.color} (${one.name})` : `${one.color}`,
  ]);
  const where = [["address", NUMBER], ["bytes", NUMBER]];
  return [
    section("Memory", table([["section", NAME], ...where], sections)),
    section("Symbols", table([["name", NAME], ...where, ["element"]], symbols)),
    ...(queues.length > 0 ? [section("Queues", table([["queue"], ["color"]], queues))] : []),
  ];
}

function address(number) {
  return `0x${number.toString(16).padStart(4, "0")}`;
}
