// The form of a conversation's settings.

import { by } from "./elements.js";

const MOST_STOPS = 4;
const names = ["system", "temperature", "length", "stops"];

// Opens the form; `keep` gets the settings if they are saved.
export function openSettings({ system, temperature, length, stops }, keep) {
  const dialog = by("settings");
  const written = { system, temperature, length: length ?? "", stops: stops.map(toLine).join("\n") };
  for (const name of names) by(name).value = written[name];
  by("wrong").textContent = "";
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue === "save") keep(read());
  };
  dialog.querySelector("form").onsubmit = (event) => {
    const isTooMany = event.submitter?.value !== "cancel" && read().stops.length > MOST_STOPS;
    by("wrong").textContent = isTooMany ? `At most ${MOST_STOPS} texts end an answer.` : "";
    if (isTooMany) event.preventDefault();
  };
  dialog.showModal();
}

function read() {
  const lines = by("stops").value.split("\n");
  return {
    system: by("system").value,
    temperature: Number(by("temperature").value),
    length: by("length").value === "" ? null : Number(by("length").value),
    stops: lines.filter((line) => line !== "").map(fromLine),
  };
}

// A line of the form has no line breaks: they are written as \n, and a backslash as \\.
function toLine(stop) {
  return stop.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function fromLine(line) {
  return line.replace(/\\(n|\\)/g, (_, letter) => (letter === "n" ? "\n" : "\\"));
}
