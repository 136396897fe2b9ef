// The parts of a run: asked for from the server, or taken from this file if they are in it.

const holder = document.getElementById("parts");
const held = holder ? JSON.parse(holder.textContent) : null;
const known = new Map();

// Whether there is no server, and only what this file holds.
export const isFile = held !== null;

export class Missing extends Error {}

export async function getBytes(path) {
  if (held) {
    if (!(path in held)) throw new Missing(`${path} is not in this file`);
    return inflate(held[path]);
  }
  const response = await fetch(`/run/${path}`);
  if (!response.ok) throw new Missing(await response.text());
  return response.arrayBuffer();
}

// Keeps what it returns: programs and numbers of maps are asked for again and again.
export function getJson(path) {
  if (!known.has(path)) {
    const found = getBytes(path).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    found.catch(() => known.delete(path));
    known.set(path, found);
  }
  return known.get(path);
}

// Forgets what was asked for: the run has gone on.
export function forget() {
  known.clear();
}

export function has(path) {
  return held === null || path in held;
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
