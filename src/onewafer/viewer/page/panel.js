// The panel: tabs with what is known of the run as a whole, or of one PE.

import { by, element, table } from "./elements.js";
import { memoryOfPe, memoryOfRun } from "./memory.js";
import { operationsTab } from "./operations.js";
import { heldAt, rangesText } from "./overlays.js";
import { getJson, has, isFile } from "./parts.js";
import { bytes, count, percent, quantity, seconds } from "./units.js";

const NUMBER = "number";
const NAME = "name";
const MOST_TENSORS = 400;
const HIDDEN = new Set(["x", "y", "program", "program_counter"]);
const MANY_COLUMNS = /^waits_|^window_|^register_|^step_/;

// A tab has a function for the run, and one for a PE; without one it is not there.
const TABS = {
  overview: { title: "Overview", ofRun: overviewOfRun, ofPe: overviewOfPe },
  operations: {
    title: "Operations",
    isThere: (run) => run.operations.length > 0,
    ofRun: (known) => operationsTab(known.run, known.operation, null, known.chooseOperation),
    ofPe: (known) => operationsTab(known.run, known.operation, known.counters, known.chooseOperation),
  },
  activity: { title: "Time", isThere: (run) => run.spans || run.windows.length > 0, ofPe: activityOfPe },
  memory: {
    title: "Memory",
    ofRun: ({ run, over }) => memoryOfRun(run, over),
    ofPe: ({ run, program }) => memoryOfPe(run, program, address),
  },
  tensors: { title: "Tensors", isThere: (run) => run.tensors.length > 0, ofRun: tensorsOfRun, ofPe: tensorsOfPe },
  program: { title: "Program", ofRun: programsOfRun, ofPe: programOfPe },
};

// Which tabs there are of a run or a PE.
export function tabsOf(run, pe) {
  return Object.keys(TABS).filter((id) => (TABS[id].isThere?.(run) ?? true) && TABS[id][pe ? "ofPe" : "ofRun"]);
}

// Shows a tab; `known` has the run, what is chosen, and functions that choose.
export async function showTab(id, known) {
  const { run, pe } = known;
  const ids = tabsOf(run, pe);
  const shown = ids.includes(id) ? id : ids[0];
  const parts = await TABS[shown][pe ? "ofPe" : "ofRun"](known);
  const subject = `${shown} ${pe}`;
  return () => {
    const { scrollTop } = by("content");
    by("subject-name").textContent = pe ? `PE (${pe.join(", ")})` : "The whole run";
    by("back").hidden = !pe;
    by("tabs").replaceChildren(...ids.map((one) => tabButton(one, one === shown, known.chooseTab)));
    by("content").setAttribute("aria-labelledby", `tab-${shown}`);
    by("content").replaceChildren(...parts);
    by("content").scrollTop = by("content").dataset.subject === subject ? scrollTop : 0;
    by("content").dataset.subject = subject;
    centerLine();
  };
}

// Scrolls the script, and nothing around it, to its marked line.
function centerLine() {
  const script = by("content").querySelector(".script");
  const row = script?.querySelector("tr.named");
  if (row) script.scrollTop += row.getBoundingClientRect().top - script.getBoundingClientRect().top - script.clientHeight / 2;
}

function tabButton(id, isShown, choose) {
  return element("button", {
    id: `tab-${id}`,
    role: "tab",
    "aria-selected": String(isShown),
    "aria-controls": "content",
    tabindex: isShown ? 0 : -1,
    onclick: () => choose(id),
  }, TABS[id].title);
}

// A part that can be closed.
function section(title, ...children) {
  return element("details", { open: "" }, element("summary", {}, element("h3", {}, title)), ...children);
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value);
  return element("dl", {}, ...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

// --- the whole run -------------------------------------------------------------------------------

function overviewOfRun({ run, openHelp }) {
  const { cycles, clock_hertz: clock, provenance, flop_share: share } = run;
  const started = provenance.started && new Date(provenance.started);
  const hint = element("p", { class: "hint" },
    "Each square is a PE of the wafer. Click one to see what it did, ", run.windows.length > 0 || run.spans ? "or play the run. " : "",
    element("button", { onclick: openHelp }, "How to read this page"));
  const parts = [hint];
  if (run.other) parts.push(...comparison(run));
  if (run.ending) parts.push(element("p", { class: "alert" }, `It did not end well: ${run.ending}`));
  parts.push(facts([
    ["Script", provenance.script && element("span", { title: provenance.script },
      [withoutFolder(provenance.script), ...provenance.arguments].join(" "))],
    [run.operations.length > 0 ? "Model" : "Program", run.title],
    ["Commit", provenance.commit.replace(/\+$/, " and changes")],
    ["Recorded", started && !Number.isNaN(started.getTime()) ? started.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }) : ""],
    ["Machine", `${run.arch_title}, ${count(run.width * run.height)} PEs (${run.width}×${run.height})`],
    ["Cycles", count(cycles)],
    ["Time", `${seconds(cycles / clock)} at ${count(clock / 1e6)} MHz`],
    ["On the wafer", share === null ? "" : `${percent(share)} of the script's matrix FLOP`],
    ["Simulated", `with ${run.profile} timing, by the ${run.engine} engine`],
  ]));
  if (!run.spans && !run.other) {
    const how = run.operations.length > 0
      ? "Single wavelets are recorded of CSL programs only, with a trace."
      : "This run was not traced: record it with a trace to see tasks and single wavelets (cs_python --trace run.wafer-trace --record …, or onewafer csl trace --record …).";
    parts.push(element("p", { class: "faint" }, how));
  }
  if (run.num_launches > 0) parts.push(launchesPart(run));
  return parts;
}

function launchesPart({ launches, num_launches: number, clock_hertz: clock }) {
  const more = number > launches.length ? `, the first ${launches.length}` : "";
  const rows = launches.map(({ name, start_cycle: start, end_cycle: end }) => [
    name, count(start), count(end - start), seconds((end - start) / clock),
  ]);
  const heads = [["function", NAME], ["from cycle", NUMBER], ["cycles", NUMBER], ["time", NUMBER]];
  return section(`Launches (${count(number)}${more})`, table(heads, rows));
}

// What differs, in words and by operation.
function comparison({ title, cycles, other, operations }) {
  const parts = [
    element("p", { class: "words" }, `B took ${other.change}.`),
    table([["run"], ["title", NAME], ["cycles", NUMBER]], [["A", title, count(cycles)], ["B", other.title, count(other.cycles)]]),
  ];
  if (other.ending) parts.push(element("p", { class: "alert" }, `B did not end well: ${other.ending}`));
  const key = ({ launch, title: name }) => `${launch} ${name}`;
  const known = new Map(other.operations.map((one) => [key(one), one]));
  const both = operations.filter((one) => known.get(key(one))?.work != null && one.work !== null);
  if (both.length === 0) return parts;
  const rows = both.map((one) => {
    const [a, b] = [one, known.get(key(one))].map(({ work, collective }) => work + collective);
    return [one.title, one.launch, count(a), count(b), a > 0 ? changeOf(a, b) : ""];
  });
  const heads = [["operation", NAME], ["launch"], ["A", NUMBER], ["B", NUMBER], ["B takes", NUMBER]];
  return [...parts, section("Operations", table(heads, rows))];
}

function changeOf(a, b) {
  if (Math.round(a) === Math.round(b)) return "as many";
  return `${percent(Math.abs(b - a) / a)} ${b > a ? "more" : "fewer"}`;
}

function tensorsOfRun({ run, chooseTensor }) {
  const rows = run.tensors.slice(0, MOST_TENSORS).map((tensor, i) => [
    element("button", { onclick: () => chooseTensor(i) }, tensor.name),
    tensor.role,
    `${tensor.shape.join("×")} ${tensor.dtype}`,
    bytes(tensor.num_bytes),
  ]);
  const why = "Choose one: PEs that hold nothing of it are dark, and near ones say which rows and columns they hold.";
  return [element("p", { class: "faint" }, why), table([["name", NAME], ["role"], ["shape"], ["a PE", NUMBER]], rows)];
}

function programsOfRun({ run, choosePe }) {
  const rows = run.programs.map((program) => [
    element("code", { title: program.name }, program.short),
    count(program.num_pes),
    bytes(program.num_bytes),
    element("button", { onclick: () => choosePe(program.first_pe) }, `(${program.first_pe.join(", ")})`),
  ]);
  const why = "PEs with the same params run the same tile program. Choose a PE for its source, with the cycles of each line.";
  return [element("p", { class: "faint" }, why), table([["tile program", NAME], ["PEs", NUMBER], ["size", NUMBER], ["first PE", NUMBER]], rows)];
}

// --- one PE --------------------------------------------------------------------------------------

// What was counted of a PE, or as much as a file without a server knows.
export async function countersOf(run, [x, y], folder = "") {
  if (!isFile) return getJson(`${folder}pes/${x}-${y}.json`);
  if (!has(`${folder}columns.json`)) return null;
  const columns = await getJson(`${folder}columns.json`);
  const place = y * run.width + x;
  return Object.fromEntries(Object.entries(columns).map(([name, all]) => [name, all[place]]));
}

async function overviewOfPe({ run, pe, program, counters, rows, choosePe }) {
  const parts = [];
  if (!program) parts.push(element("p", {}, "It has no program: only its router works."));
  const others = run.other ? await countersOf(run, pe, "b/") : null;
  if (counters) parts.push(...waitParts(run, program, counters), ...(await peerParts(pe, counters, choosePe)));
  if (counters && others) parts.push(bothPart(counters, others));
  else if (counters) parts.push(cyclesPart(run, counters), countersPart(counters), ...registerParts(counters));
  else parts.push(valuesPart(run, rows));
  return parts;
}

function activityOfPe({ times, spans }) {
  return [...times.map(timesPart), ...(spans ? [spansPart(spans)] : [])];
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
  const share = (cycles) => percent(cycles / Math.max(1, run.cycles));
  const units = (cycles) => quantity(cycles / Math.max(1, run.cycles), "units");
  const rows = [
    ["busy", share(counters.busy_cycles), count(counters.busy_cycles)],
    ...waits
      .sort((a, b) => b[1] - a[1])
      .map(([name, value]) => [`waited: ${spell(name.slice("wait_".length, -"_cycles".length))}`, units(value), count(value)]),
  ];
  const why = "Several units of a PE (threads, links) may wait in one cycle: waits are means of how many do.";
  return section("Cycles", table([["what", NAME], ["mean", NUMBER], ["cycles", NUMBER]], rows), element("p", { class: "faint" }, why));
}

function spell(name) {
  return name.replaceAll("_", " ");
}

function countersPart(counters) {
  const shown = Object.entries(counters).filter(
    ([name]) => !HIDDEN.has(name) && !MANY_COLUMNS.test(name) && !/^wait/.test(name) && name !== "busy_cycles",
  );
  return section("Counters", table([["what", NAME], ["value", NUMBER]], shown.map(([name, value]) => [spell(name), counter(name, value)])));
}

function counter(name, value) {
  if (name === "energy_joules") return quantity(value, "joules");
  return name.endsWith("_bytes") ? bytes(value) : count(value);
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
  const names = Object.keys(counters).filter((name) => name in others && !HIDDEN.has(name) && !MANY_COLUMNS.test(name));
  const rows = names
    .filter((name) => counters[name] !== 0 || others[name] !== 0)
    .map((name) => [spell(name), ...[counters[name], others[name], others[name] - counters[name]].map((value) => counter(name, value))]);
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
export function showLine(place) {
  by("content").querySelectorAll("tr.named").forEach((row) => row.classList.remove("named"));
  const row = [...by("content").querySelectorAll("tr[data-place]")].find((one) => one.dataset.place === place);
  if (!row) return;
  row.classList.add("named");
  row.scrollIntoView({ block: "center" });
}

function tensorsOfPe({ run, pe: [x, y] }) {
  const held = run.tensors
    .map((tensor) => ({ tensor, rows: heldAt(run.splits[tensor.rows], x, y), columns: heldAt(run.splits[tensor.columns], x, y) }))
    .filter(({ rows, columns }) => rows.length > 0 && columns.length > 0);
  if (held.length === 0) return [element("p", {}, "It holds nothing of the model's tensors.")];
  const rows = held.slice(0, MOST_TENSORS).map(({ tensor, rows: ofRows, columns }) => [
    `${tensor.name} ${tensor.shape.join("×")} (${tensor.role})`, rangesText(ofRows), rangesText(columns),
  ]);
  return [table([["name", NAME], ["rows"], ["columns"]], rows)];
}

function programOfPe({ program, counters }) {
  if (!program) return [element("p", {}, "It has no program: only its router works.")];
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
  const tables = [...files].flatMap(([path, rows]) => [element("h4", { title: path }, element("code", {}, withoutFolder(path))), table(columns, rows)]);
  const queues = program.queues.map((one) => [
    `${one.is_input ? "input" : "output"} ${one.queue}`,
    one.name ? `${one.color} (${one.name})` : `${one.color}`,
  ]);
  return [
    element("p", {}, element("code", { title: program.name }, withoutFolder(program.name))),
    element("p", { class: "faint" }, about),
    ...tables,
    ...(queues.length > 0 ? [section("Queues", table([["queue"], ["color"]], queues))] : []),
  ];
}

function withoutFolder(path) {
  return path.replace(/^[^ (<]*\//, "");
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

function address(number) {
  return `0x${number.toString(16).padStart(4, "0")}`;
}
