// The chat page: a conversation, and what each answer took. What a model says is only ever text.

import { figures, liveRate, number } from "./figures.js";
import { Refusal, chat, get, keepKey } from "./stream.js";

const HEALTH_MILLISECONDS = 1000;
const MILLISECONDS = 1000; // in a second
const NEAR_THE_END = 80; // pixels
const TEMPERATURE = 0.3; // small models lose the thread at 1
const by = (id) => document.getElementById(id);
const conversation = by("conversation");
const turns = [];
let model = null;
let running = null; // the AbortController of the answer that is being written

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
  show(model);
}

function lost() {
  by("served").textContent = "the server does not answer";
  setTimeout(() => connect().catch(lost), HEALTH_MILLISECONDS);
}

function show({ id, context_length, onewafer }) {
  const text = onewafer.is_synthetic ? " · its text is synthetic" : "";
  by("served").textContent =
    `${id} on ${onewafer.system} · ${number(context_length)} tokens of context${text}`;
  by("unlock").hidden = true;
  setBusy(false);
  by("text").focus();
}

function askForKey(error) {
  by("served").textContent = "locked";
  by("refused").textContent = by("key").value ? error.message : "";
  by("unlock").hidden = false;
  by("key").focus();
}

function setBusy(isBusy) {
  by("text").disabled = false;
  by("send").disabled = isBusy;
  by("send").hidden = isBusy;
  by("stop").hidden = !isBusy;
  by("again").disabled = isBusy || turns.length === 0;
}

function addTurn(role, name, text) {
  by("welcome").hidden = true;
  const article = by("turn").content.cloneNode(true).querySelector("article");
  article.classList.add(role);
  article.querySelector("h2").textContent = name;
  article.querySelector(".text").textContent = text;
  conversation.append(article);
  follow(true);
  return article;
}

// Keeps the end in view, unless the reader has scrolled up.
function follow(always = false) {
  const { scrollHeight, scrollTop, clientHeight } = conversation;
  if (always || scrollHeight - scrollTop - clientHeight < NEAR_THE_END) {
    conversation.scrollTop = scrollHeight;
  }
}

async function ask(text) {
  addTurn("user", "You", text);
  const article = addTurn("assistant", model.id, "");
  const said = article.querySelector(".text").appendChild(document.createTextNode(""));
  const rate = article.querySelector(".rate");
  turns.push({ role: "user", content: text });
  running = new AbortController();
  setBusy(true);
  try {
    await write(said, rate, article.querySelector(".figures"));
  } catch (error) {
    fail(said, rate, error);
  } finally {
    // What was not answered at all is as if it had not been asked.
    if (said.data) turns.push({ role: "assistant", content: said.data });
    else turns.pop();
    running = null;
    setBusy(false);
    follow();
  }
}

async function write(said, rate, table) {
  let numTokens = 0;
  let first = null;
  const body = { model: model.id, messages: turns, temperature: TEMPERATURE };
  for await (const chunk of chat(body, running.signal)) {
    const piece = chunk.choices[0]?.delta.content;
    if (piece) {
      said.appendData(piece);
      numTokens += 1;
      first ??= performance.now();
      rate.textContent = liveRate(numTokens - 1, (performance.now() - first) / MILLISECONDS);
      follow();
    }
    if (chunk.usage) {
      rate.textContent = "";
      table.append(figures(chunk));
    }
  }
}

function fail(said, rate, error) {
  if (error.name === "AbortError") {
    rate.textContent = "stopped";
    return;
  }
  rate.textContent = "";
  const message = error instanceof Refusal ? error.message : "the connection broke off";
  const line = document.createElement("div");
  line.className = "text error";
  line.textContent = message;
  said.parentElement.after(line);
  if (error.status === 401) askForKey(error);
}

by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = by("text").value.trim();
  if (!text || running || !model) return;
  by("text").value = "";
  ask(text);
});

by("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    by("ask").requestSubmit();
  }
});

by("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(by("key").value);
  connect().catch(lost);
});

by("stop").addEventListener("click", () => running?.abort());

by("again").addEventListener("click", () => {
  turns.length = 0;
  conversation.querySelectorAll(".turn").forEach((turn) => turn.remove());
  by("welcome").hidden = false;
  setBusy(false);
  by("text").focus();
});

connect().catch(lost);
