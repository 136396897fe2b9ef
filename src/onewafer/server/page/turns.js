// Messages of a conversation on the page, each with its text, what happened to it, and what can be
// done with it.

import { element } from "./elements.js";
import { figures } from "./figures.js";
import { copyButtons, show } from "./markdown.js";

const NOTES = {
  stopped: "You stopped it here.",
  cut: "The page was left while this was written; what came is kept.",
  length: "It is as long as answers may be here; Settings has the length.",
};

// Returns the element of a message; `can` has what the page does: `edit(text)`, `regenerate()`.
export function makeTurn(message, can) {
  const { role, model } = message;
  const turn = element("article", { class: `turn ${role}` });
  turn.append(element("h2", {}, role === "user" ? "You" : model));
  turn.append(element("div", { class: "text" }), element("p", { class: "note", role: "status" }));
  turn.append(element("div", { class: "figures" }), element("p", { class: "actions" }));
  update(turn, message, can);
  return turn;
}

// Shows a message as it is now.
export function update(turn, message, can) {
  const { role, text, state, took } = message;
  if (role === "user") turn.querySelector(".text").textContent = text;
  else show(turn.querySelector(".text"), text);
  const isWriting = state === "writing";
  turn.setAttribute("aria-busy", isWriting);
  note(turn, message);
  turn.querySelector(".figures").replaceChildren(...(took ? [figures(took)] : []));
  turn.querySelector(".actions").replaceChildren(...(isWriting ? [] : actions(turn, message, can)));
}

// Shows more of the text of an answer that is being written.
export function extend(turn, text, rate) {
  show(turn.querySelector(".text"), text);
  turn.querySelector(".note").textContent = rate;
}

function note(turn, { state, error }) {
  const line = turn.querySelector(".note");
  line.classList.toggle("error", Boolean(error));
  line.textContent = error ?? NOTES[state] ?? (state === "writing" ? "…" : "");
}

function actions(turn, message, can) {
  const { role, text, state } = message;
  const found = text ? copyButtons(() => message.text) : [];
  if (role === "user") found.push(button("Edit", "edits", () => edit(turn, message, can)));
  else found.push(button(state === "failed" ? "Try again" : "Answer again", "again", can.regenerate));
  return found;
}

// Puts a form in the place of a question: what is asked instead, and whatever followed is gone.
function edit(turn, message, can) {
  const text = turn.querySelector(".text");
  const field = element("textarea", { "aria-label": "Your message", rows: "3" });
  field.value = message.text;
  const close = () => {
    form.replaceWith(text);
    update(turn, message, can);
    turn.querySelector(".edits").focus();
  };
  const submit = (event) => {
    event.preventDefault();
    if (field.value.trim()) can.edit(field.value.trim());
  };
  const form = element(
    "form",
    { class: "edit", onsubmit: submit, onkeydown: (event) => keys(event, form, close) },
    field,
    element("button", { type: "submit", class: "primary" }, "Ask again"),
    element("button", { type: "button", onclick: close }, "Cancel"),
    element("span", { class: "faint" }, "What follows is replaced."),
  );
  text.replaceWith(form);
  turn.querySelector(".actions").replaceChildren();
  field.focus();
}

function keys(event, form, close) {
  if (event.key === "Escape") close();
  else if (isSending(event)) {
    event.preventDefault();
    form.requestSubmit();
  }
}

// Enter sends, Shift and Enter begin a line; Enter that ends a composed character does neither.
export function isSending({ key, shiftKey, isComposing, target }) {
  return key === "Enter" && !shiftKey && !isComposing && target.tagName === "TEXTAREA";
}

function button(name, kind, onclick) {
  return element("button", { type: "button", class: `quiet ${kind}`, onclick }, name);
}
