// Asking the server: a key that is kept for this tab, answers as they are written, and what went
// wrong in plain words.

const KEY = "onewafer.key";

export class Refusal extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export async function get(path) {
  return (await send(path, {})).json();
}

// Yields the chunks of a chat completion.
export async function* chat(body, signal) {
  const response = await send("/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    headers: { "content-type": "application/json" },
    signal,
  });
  for await (const line of lines(response.body)) {
    if (line === "data: [DONE]") return;
    if (!line.startsWith("data: ")) continue;
    const chunk = JSON.parse(line.slice("data: ".length));
    if (chunk.error) throw new Refusal(chunk.status_code, chunk.error.message);
    yield chunk;
  }
  throw new Error("the stream ended before the answer did");
}

// Says what went wrong, and what to do.
export function inWords(error, hasText) {
  if (!(error instanceof Refusal)) {
    return hasText
      ? "The connection broke off; what came is kept."
      : "The server does not answer. Does `onewafer serve` still run?";
  }
  switch (error.status) {
    case 401:
      return "The server asks for its key, below.";
    case 413:
      return "This conversation is longer than what the server reads; begin a new one.";
    case 429:
      return `The server has too much to do: ${error.message}.${when(error.retryAfter)}`;
    case 500:
      return "The server has made a mistake of its own; its log says more.";
    case 503:
      return `The server cannot answer at present: ${error.message}.`;
    default:
      return `The server refuses this: ${error.message}.`;
  }
}

function when(retryAfter) {
  return retryAfter ? ` There may be room in ${retryAfter} s.` : "";
}

async function send(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const value = await response.json().catch(() => ({}));
  const message = value.error?.message ?? value.message ?? `status ${response.status}`;
  throw new Refusal(response.status, message, response.headers.get("retry-after"));
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
