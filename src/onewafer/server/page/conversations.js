// Conversations, kept in this browser. Each is a record of its own, written again and again while an
// answer comes, so that nothing that was shown is lost with the page.
//
//   {id, title, changed, settings: {system, temperature, length, stops}, messages}
//   {role: "user", text}
//   {role: "assistant", model, text, state, error, took}
//
// The state of an answer: "writing", then "done", "length" (as long as it may be), "stopped" (by the
// reader), "cut" (the page was left), "failed" (`error` says why).

const RECORD = "onewafer.conversation.";
const SETTINGS = "onewafer.settings";
const SHOWN = "onewafer.shown";
const SAVE_MILLISECONDS = 300;
const TITLE_LENGTH = 60;
const USUAL = { system: "", temperature: 0.3, length: null, stops: [] };

let pending = null; // a conversation that is due to be written
let timer = 0;

export function begin() {
  const settings = { ...USUAL, ...read(SETTINGS) };
  return { id: crypto.randomUUID(), title: null, changed: Date.now(), settings, messages: [] };
}

// Returns all conversations, the newest first.
export function all() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(RECORD));
  const found = keys.map((key) => load(idOfKey(key))).filter((one) => one !== null);
  return found.sort((one, other) => other.changed - one.changed);
}

// Returns a conversation, or null. What is "writing" there was cut, unless another tab writes it now.
export function load(id, { isWrittenNow = false } = {}) {
  const found = read(RECORD + id);
  if (!Array.isArray(found?.messages)) return null;
  for (const message of found.messages) {
    if (message.state === "writing" && !isWrittenNow) message.state = "cut";
  }
  return { ...found, settings: { ...USUAL, ...found.settings } };
}

// The conversation that this tab showed last.
export function loadShown() {
  const id = sessionStorage.getItem(SHOWN);
  return id === null ? null : load(id);
}

export function keepShown({ id }) {
  sessionStorage.setItem(SHOWN, id);
}

export function keepSettings(settings) {
  localStorage.setItem(SETTINGS, JSON.stringify(settings));
}

// Writes a conversation; throws if the browser has no room for it.
export function save(conversation) {
  if (pending === conversation) pending = null;
  if (conversation.messages.length === 0) return;
  localStorage.setItem(RECORD + conversation.id, JSON.stringify(conversation));
}

// Writes it soon: many times a second would be asked for.
export function saveSoon(conversation, whenFull) {
  pending = conversation;
  if (timer) return;
  timer = setTimeout(() => {
    timer = 0;
    try {
      savePending();
    } catch (error) {
      whenFull(error);
    }
  }, SAVE_MILLISECONDS);
}

export function savePending() {
  if (pending !== null) save(pending);
}

export function remove({ id }) {
  localStorage.removeItem(RECORD + id);
}

export function idOfKey(key) {
  return key?.startsWith(RECORD) ? key.slice(RECORD.length) : null;
}

export function titleOf({ title, messages }) {
  const first = messages[0]?.text.trim().split("\n", 1)[0] ?? "";
  const short = first.length > TITLE_LENGTH ? `${first.slice(0, TITLE_LENGTH)} …` : first;
  return title ?? (short || "New conversation");
}

// Returns what a model is asked: questions that have no answer are left out, but the last one.
export function request({ settings, messages }) {
  const said = settings.system.trim() ? [{ role: "system", content: settings.system }] : [];
  messages.forEach(({ role, text }, i) => {
    const answer = messages[i + 1];
    const isAsked = role === "user" && (answer?.text || i >= messages.length - 2);
    if (isAsked || (role === "assistant" && text)) said.push({ role, content: text });
  });
  const { temperature, length, stops } = settings;
  return {
    messages: said,
    temperature,
    ...(length && { max_completion_tokens: length }),
    ...(stops.length && { stop: stops }),
  };
}

export function toMarkdown(conversation) {
  const { system } = conversation.settings;
  const parts = [`# ${titleOf(conversation)}`];
  if (system.trim()) parts.push("## System prompt", system);
  for (const { role, text, model, error } of conversation.messages) {
    parts.push(role === "user" ? "## You" : `## ${model}`, text || error || "");
  }
  return `${parts.join("\n\n")}\n`;
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null; // not ours
  }
}
