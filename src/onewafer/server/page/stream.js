// Asking the server: a key that is kept for this tab, and answers as they are written.

const KEY = "onewafer.key";

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
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
    if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
    const chunk = JSON.parse(line.slice("data: ".length));
    if (chunk.error) throw new Refusal(chunk.status_code, chunk.error.message);
    yield chunk;
  }
}

async function send(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const value = await response.json().catch(() => ({}));
  const message = value.error?.message ?? value.message ?? `status ${response.status}`;
  throw new Refusal(response.status, message);
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
