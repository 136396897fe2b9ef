// What an answer took: a rate while it is written, then one line that unfolds.

import { element } from "./elements.js";
import { counted, number, seconds } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 0.5; // percent of a bar that can be seen

export function liveRate(numTokens, elapsed) {
  if (numTokens < 2 || elapsed <= 0) return "…";
  return `about ${number(numTokens / elapsed)} tokens/s on this computer`;
}

// Returns the line of a complete answer; its last chunk had `usage` and `onewafer`.
export function figures({ usage, onewafer }) {
  const rows = rowsOf(usage.completion_tokens, onewafer);
  const told = element("dl", {}, ...facts(usage, onewafer).flatMap(([name, text]) => [
    element("dt", {}, name),
    element("dd", {}, text),
  ]));
  const summary = element("summary", {}, ...line(usage, onewafer, rows[0]));
  return element("details", { class: "took" }, summary, rates(rows), told);
}

function line({ completion_tokens: written }, { system, total_seconds, launches, joules }, { rate }) {
  const rest = [
    `${counted(written, "token")} in ${seconds(total_seconds)}`,
    counted(launches, "launch", "launches"),
    `${number(joules)} J`,
  ];
  if (rate === null) return [`${system}: ${rest.join(" · ")}`];
  const first = element("strong", {}, `${number(rate)} tokens/s`);
  return [first, ` on ${system} · ${rest.join(" · ")}`];
}

function rowsOf(numTokens, { system, queue_seconds, prompt_seconds, total_seconds, ...others }) {
  const wafer = { ttft_seconds: queue_seconds + prompt_seconds, total_seconds };
  const rows = [
    row("wafer", system, wafer, numTokens),
    row("host", "this computer", others.host, numTokens),
  ];
  if (others.alternative) {
    const { system: name, tokens_per_second: rate } = others.alternative;
    rows.splice(1, 0, { ...row("alternative", name, others.alternative, numTokens), rate });
  }
  return rows;
}

function row(kind, name, { ttft_seconds, total_seconds }, numTokens) {
  const decode = total_seconds - ttft_seconds;
  const rate = numTokens > 1 && decode > 0 ? (numTokens - 1) / decode : null;
  return { kind, name, first: ttft_seconds, total: total_seconds, rate };
}

function rates(rows) {
  const fastest = Math.max(...rows.map(({ rate }) => rate ?? 0));
  const heads = ["", "tokens/s: a longer bar is faster", "first token", "whole answer"];
  const cells = heads.map((text) => element(text ? "th" : "td", text ? { scope: "col" } : {}, text));
  const head = element("thead", {}, element("tr", {}, ...cells));
  const body = element("tbody", {}, ...rows.map((one) => rateRow(one, fastest)));
  return element("table", {}, head, body);
}

function rateRow({ kind, name, first, total, rate }, fastest) {
  const shown = element("span", {}, rate === null ? "–" : number(rate));
  return element(
    "tr",
    { class: kind },
    element("th", { scope: "row" }, name),
    element("td", { class: "rate" }, shown, ...(rate === null ? [] : [bar(rate / fastest)])),
    element("td", {}, seconds(first)),
    element("td", {}, seconds(total)),
  );
}

function bar(fraction) {
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", `${Math.max(fraction * 100, LEAST)}%`);
  rect.setAttribute("height", "100%");
  svg.append(rect);
  return svg;
}

function facts(usage, onewafer) {
  const cached = usage.prompt_tokens_details.cached_tokens;
  const read = `${counted(usage.prompt_tokens, "token")}${cached ? `, ${number(cached)} of them kept from before` : ""}`;
  const { system, cycles, queue_seconds } = onewafer;
  const found = [
    ["read", read],
    ["written", counted(usage.completion_tokens, "token")],
    cycles === null ? null : ["cycles", `${number(cycles)} from the first launch to the last token`],
    queue_seconds > 0 ? ["in the queue", seconds(queue_seconds)] : null,
    ["energy", `${number(onewafer.joules)} J, this answer's share of all that ${system} takes`],
    ["source", origin(onewafer)],
  ];
  return found.filter((fact) => fact !== null);
}

function origin({ system, is_synthetic, simulated }) {
  const times = `times and energy of ${system} come from equations, those of this computer from its clock`;
  if (is_synthetic) return `The text is made up; ${times}.`;
  if (!simulated) return `This computer computed the text; ${times}.`;
  const launches = counted(simulated.launches, "launch", "launches");
  return `A simulated wafer computed the text in ${launches}, ${number(simulated.cycles)} cycles; ${times}.`;
}
