// What an answer took: a line while it is written, then a table of the clocks.

const SVG = "http://www.w3.org/2000/svg";
const UNITS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];

export function seconds(value) {
  const [scale, unit] = UNITS.find(([scale]) => value >= scale) ?? UNITS.at(-1);
  return value === 0 ? "0 s" : `${number(value / scale)} ${unit}`;
}

export function number(value) {
  const digits = value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en", digits);
}

export function liveRate(numTokens, elapsed) {
  if (numTokens < 2 || elapsed <= 0) return "…";
  return `about ${number(numTokens / elapsed)} tokens/s on this computer`;
}

// Returns the table of a complete answer: its last chunk has `usage` and `onewafer`.
export function figures({ usage, onewafer }) {
  const numTokens = usage.completion_tokens;
  const { system, total_seconds, host, alternative } = onewafer;
  const rows = [
    row("wafer", system, { ttft_seconds: ttft(onewafer), total_seconds }, numTokens),
    row("host", "this computer", host, numTokens),
  ];
  if (alternative) {
    const rate = alternative.tokens_per_second;
    rows.push({ ...row("alternative", alternative.system, alternative, numTokens), rate });
  }
  const fastest = Math.max(...rows.map((one) => one.rate ?? 0));
  const table = element("table", "", element("caption", summary(usage, onewafer)));
  table.append(element("thead", "", headings()));
  table.append(element("tbody", "", ...rows.map((one) => tableRow(one, fastest))));
  return table;
}

function ttft({ queue_seconds, prompt_seconds }) {
  return queue_seconds + prompt_seconds;
}

function row(kind, name, { ttft_seconds, total_seconds }, numTokens) {
  const decode = total_seconds - ttft_seconds;
  const rate = numTokens > 1 && decode > 0 ? (numTokens - 1) / decode : null;
  return { kind, name, first: ttft_seconds, total: total_seconds, rate };
}

function summary(usage, onewafer) {
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = usage;
  const cached = prompt_tokens_details.cached_tokens;
  const parts = [
    `${number(prompt_tokens)} tokens read` + (cached ? ` (${number(cached)} from the cache)` : ""),
    `${number(completion_tokens)} written`,
    onewafer.cycles === null ? null : `${number(onewafer.cycles)} cycles`,
    `${number(onewafer.launches)} launches`,
    `${number(onewafer.joules)} J`,
    onewafer.queue_seconds > 0 ? `${seconds(onewafer.queue_seconds)} in the queue` : null,
    onewafer.is_synthetic ? "the text is synthetic" : null,
  ];
  return parts.filter((part) => part !== null).join(" · ");
}

function headings() {
  const titles = ["", "first token", "whole answer", "tokens/s"].map((title) => {
    const cell = element("th", title);
    cell.scope = "col";
    return cell;
  });
  const bar = element("th");
  bar.className = "bar";
  return element("tr", "", ...titles, bar);
}

// The bar is as long as the rate beside it is large.
function tableRow({ kind, name, first, total, rate }, fastest) {
  const title = element("th", name);
  title.scope = "row";
  const bar = element("td", "", picture(rate === null ? 0 : rate / fastest));
  bar.className = "bar";
  const cells = [seconds(first), seconds(total), rate === null ? "–" : number(rate)];
  const result = element("tr", "", title, ...cells.map((text) => element("td", text)), bar);
  result.className = kind;
  return result;
}

function picture(fraction) {
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", `${100 * fraction}%`);
  rect.setAttribute("height", "100%");
  svg.append(rect);
  return svg;
}

function element(name, text = "", ...children) {
  const result = document.createElement(name);
  result.textContent = text;
  result.append(...children);
  return result;
}
