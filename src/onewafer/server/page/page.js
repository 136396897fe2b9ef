// The chat page: what is shown, what is asked, and what happens on the way.

import { begin, all, idOfKey, keepSettings, keepShown, load, loadShown, remove, request, save, savePending, saveSoon, titleOf, toMarkdown } from "./conversations.js";
import { by, element } from "./elements.js";
import { liveRate } from "./figures.js";
import { openSettings } from "./settings.js";
import { Refusal, chat, get, inWords, keepKey } from "./stream.js";
import { extend, isSending, makeTurn, update } from "./turns.js";
import { number } from "./units.js";

const HEALTH_MILLISECONDS = 1000;
const MILLISECONDS = 1000; // in a second
const NEAR_THE_END = 80; // pixels
const IDEAS = [
  "In two sentences: what is a silicon wafer?",
  "Write a Python function that adds two vectors.",
  "Name three uses of a very fast language model.",
];
const pane = by("conversation");
const turns = new Map(); // message → its element
const removed = new Set(); // ids: an answer that still comes is not kept
let model = null;
let shown = loadShown() ?? begin();
let running = null; // {conversation, message, controller}: the answer that is being written
let isDue = false;
let isLeaving = false; // an answer that breaks off then is cut, and no failure

// --- the server ----------------------------------------------------------------------------------

async function connect() {
  const { status } = await fetch("/health").then((response) => response.json());
  if (status !== "ready") {
    by("served").textContent = status === "loading" ? "the model is being loaded …" : status;
    setTimeout(() => connect().catch(lost), HEALTH_MILLISECONDS);
    return;
  }
  try {
    [model] = (await get("/v1/models")).data;
  } catch (error) {
    if (error.status !== 401) throw error;
    askForKey(error);
    return;
  }
  showModel(model);
}

function lost() {
  by("served").textContent = "the server does not answer";
  setTimeout(() => connect().catch(lost), HEALTH_MILLISECONDS);
}

function showModel({ id, context_length, onewafer }) {
  const text = onewafer.is_synthetic ? " · its text is made up" : "";
  by("served").textContent =
    `${id} on ${onewafer.system} · ${number(context_length)} tokens of context${text}`;
  by("unlock").hidden = true;
  const isFirst = by("text").disabled;
  by("text").disabled = false;
  showState();
  if (isFirst && !matchMedia("(pointer: coarse)").matches) by("text").focus(); // no keyboard on glass
}

function askForKey(error) {
  by("served").textContent = "locked";
  by("refused").textContent = by("key").value ? error.message : "";
  by("unlock").hidden = false;
  by("key").focus();
}

// --- what is shown -------------------------------------------------------------------------------

function open(conversation) {
  shown = conversation.id === running?.conversation.id ? running.conversation : conversation;
  keepShown(shown);
  turns.clear();
  by("turns").replaceChildren(...systemPrompt(shown));
  shown.messages.forEach(addTurn);
  showList();
  showState();
  follow(true);
}

function systemPrompt({ settings: { system } }) {
  if (!system.trim()) return [];
  const text = element("div", { class: "text" }, system);
  return [element("details", { class: "system" }, element("summary", {}, "System prompt"), text)];
}

function showState() {
  const isEmpty = shown.messages.length === 0;
  document.body.classList.toggle("busy", running !== null);
  by("send").disabled = running !== null || model === null;
  by("send").hidden = running !== null;
  by("stop").hidden = running === null;
  by("welcome").hidden = !isEmpty;
  by("open-menu").disabled = isEmpty;
}

function showList() {
  const items = all().map((one) => {
    const current = one.id === shown.id ? "true" : undefined;
    const onclick = () => {
      by("conversations").hidePopover();
      open(one);
    };
    const attributes = { type: "button", "aria-current": current, onclick };
    return element("li", {}, element("button", attributes, titleOf(one)));
  });
  by("list").replaceChildren(...items);
}

function addTurn(message) {
  const can = { edit: (text) => askInstead(message, text), regenerate: () => answerAgain(message) };
  const turn = makeTurn(message, can);
  turns.set(message, { turn, can });
  by("turns").append(turn);
}

function updateTurn(message) {
  const found = turns.get(message);
  if (found) update(found.turn, message, found.can);
}

// Keeps the end in view, unless the reader has scrolled up.
function follow(always = false) {
  if (always || isNearTheEnd()) pane.scrollTop = pane.scrollHeight;
}

function isNearTheEnd() {
  return pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_THE_END;
}

function notice(text, ...actions) {
  by("notice").replaceChildren(text, ...actions);
}

// --- asking --------------------------------------------------------------------------------------

function ask(text) {
  const question = { role: "user", text };
  shown.messages.push(question);
  addTurn(question);
  const answer = { role: "assistant", model: model.id, text: "", state: "writing" };
  shown.messages.push(answer);
  addTurn(answer);
  follow(true);
  write(shown, answer);
}

// Asks another question in the place of one that was asked; what followed is gone.
function askInstead(question, text) {
  if (running || !model) return;
  const place = shown.messages.indexOf(question);
  for (const gone of shown.messages.splice(place)) turns.get(gone).turn.remove();
  ask(text);
  by("text").focus();
}

// Writes the last answer anew; the one that was there comes back if there is no other.
function answerAgain(answer) {
  if (running || !model || answer !== shown.messages.at(-1)) return;
  const before = { ...answer };
  Object.assign(answer, { model: model.id, text: "", state: "writing", error: null, took: null });
  updateTurn(answer);
  write(shown, answer, before);
}

async function write(conversation, message, before = {}) {
  const controller = new AbortController();
  running = { conversation, message, controller };
  conversation.changed = Date.now();
  notice("");
  keep(conversation);
  showList();
  showState();
  try {
    await receive(conversation, message, controller.signal);
  } catch (error) {
    fail(message, error);
    if (!message.text && before.text) Object.assign(message, before, { error: message.error });
  }
  running = null;
  updateTurn(message);
  keep(conversation);
  showState();
  follow();
}

async function receive(conversation, message, signal) {
  const body = { model: message.model, ...request(conversation) };
  let numTokens = 0;
  let first = null;
  for await (const chunk of chat(body, signal)) {
    const choice = chunk.choices[0];
    if (choice?.delta.content) {
      message.text += choice.delta.content;
      numTokens += 1;
      first ??= performance.now();
      const rate = liveRate(numTokens - 1, (performance.now() - first) / MILLISECONDS);
      draw(message, rate);
      saveSoon(conversation, full);
    }
    if (choice?.finish_reason) message.state = choice.finish_reason === "length" ? "length" : "done";
    if (chunk.usage) message.took = { usage: chunk.usage, onewafer: chunk.onewafer };
  }
}

// Draws what has come, once a picture of the screen.
function draw(message, rate) {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    const found = turns.get(message);
    if (!found || running?.message !== message) return;
    const isFollowing = isNearTheEnd();
    extend(found.turn, message.text, rate);
    if (isFollowing) follow(true);
  });
}

function fail(message, error) {
  if (error.name === "AbortError") {
    message.state = "stopped";
    return;
  }
  message.state = message.text || isLeaving ? "cut" : "failed";
  if (isLeaving) return;
  message.error = inWords(error, message.text !== "");
  if (error.status === 401) askForKey(error);
  if (!(error instanceof Refusal) || error.status === 404) connect().catch(lost);
}

// --- keeping -------------------------------------------------------------------------------------

function keep(conversation) {
  if (removed.has(conversation.id)) return;
  try {
    save(conversation);
  } catch (error) {
    full(error);
  }
}

function full() {
  notice("This browser has no room for more: export and delete conversations.");
}

function removeShown() {
  const gone = shown;
  removed.add(gone.id);
  if (running?.conversation === gone) running.controller.abort();
  remove(gone);
  open(all()[0] ?? begin());
  const undo = () => {
    removed.delete(gone.id);
    keep(gone);
    open(gone);
    notice("");
  };
  const button = element("button", { type: "button", class: "quiet", onclick: undo }, "Undo");
  notice(`Deleted “${titleOf(gone)}”. `, button);
}

function download(text, type, ending) {
  const name = titleOf(shown).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  const href = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href, download: `${name || "conversation"}.${ending}` }).click();
  URL.revokeObjectURL(href);
}

// --- what is clicked and typed -------------------------------------------------------------------

const clicks = {
  again: () => {
    by("conversations").hidePopover();
    open(begin());
    by("text").focus();
  },
  stop: () => running?.controller.abort(),
  newest: () => follow(true),
  "open-settings": () => openSettings(shown.settings, changeSettings),
  rename: openRenaming,
  "export-text": () => download(toMarkdown(shown), "text/markdown", "md"),
  "export-json": () => download(JSON.stringify(shown, null, 2), "application/json", "json"),
  delete: removeShown,
};
for (const [id, act] of Object.entries(clicks)) by(id).addEventListener("click", act);
for (const button of by("menu").children) {
  button.addEventListener("click", () => by("menu").hidePopover());
}

function changeSettings(settings) {
  shown.settings = settings;
  keepSettings(settings);
  keep(shown);
  by("turns").querySelector(".system")?.remove();
  by("turns").prepend(...systemPrompt(shown));
}

function openRenaming() {
  const dialog = by("renaming");
  by("title").value = titleOf(shown);
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "save") return;
    shown.title = by("title").value.trim() || null;
    keep(shown);
    showList();
  };
  dialog.showModal();
}

by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = by("text").value.trim();
  if (!text || running || !model) return;
  by("text").value = "";
  ask(text);
});

by("text").addEventListener("keydown", (event) => {
  if (isSending(event)) {
    event.preventDefault();
    by("ask").requestSubmit();
  } else if (event.key === "ArrowUp" && by("text").value === "") {
    event.preventDefault();
    [...by("turns").querySelectorAll(".edits")].at(-1)?.click();
  }
});

addEventListener("keydown", ({ key, defaultPrevented }) => {
  const isElsewhere = document.querySelector("dialog[open], :popover-open, form.edit") !== null;
  if (key === "Escape" && !defaultPrevented && !isElsewhere) running?.controller.abort();
});

by("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(by("key").value);
  connect().catch(lost);
});

pane.addEventListener("scroll", () => (by("newest").hidden = isNearTheEnd()));
addEventListener("pagehide", () => {
  isLeaving = true;
  savePending();
});
addEventListener("pageshow", () => (isLeaving = false));
addEventListener("storage", ({ key }) => {
  const id = idOfKey(key);
  if (id === null) return;
  const changed = load(id, { isWrittenNow: true });
  if (id === shown.id && id !== running?.conversation.id && changed) open(changed);
  else showList();
});

by("ideas").append(
  ...IDEAS.map((idea) => {
    const onclick = () => {
      by("text").value = idea;
      by("text").focus();
    };
    return element("li", {}, element("button", { type: "button", onclick }, idea));
  }),
);
open(shown);
connect().catch(lost);
