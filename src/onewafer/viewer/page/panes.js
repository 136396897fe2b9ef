// The panes of the stage: one a run, and of two runs one more with what differs.

import { by } from "./elements.js";
import { drawOverlays } from "./overlays.js";
import { getBytes, getJson } from "./parts.js";
import { count, quantity } from "./units.js";
import { levelFor, makePainter } from "./wafer.js";

const NO_DIFFERENCE = 128; // the code

export class Pane {
  constructor(root, { folder, caption, letter }, renderer) {
    this.folder = folder;
    this.letter = letter;
    this.root = root;
    this.overlay = root.querySelector(".overlay");
    this.painter = makePainter(root.querySelector(".wafer"), renderer);
    this.name = caption;
    root.querySelector(".caption").textContent = caption;
    this.shown = null; // the path of a map, what is known of it, and its levels
  }

  get isDifference() {
    return this.folder === "difference/";
  }

  // Returns what `take` shows.
  async load(path, scale) {
    const about = await getJson(`${this.folder}maps/${path}.json`);
    const levels = about.levels.map(() => null);
    const level = levelFor(scale, levels.length);
    levels[level] = await this.#fetch(path, about, level);
    return { path, about, levels };
  }

  take(shown) {
    this.shown = shown;
  }

  async #fetch(path, about, level) {
    const codes = new Uint8Array(await getBytes(`${this.folder}maps/${path}/${level}`));
    return { codes, size: about.levels[level], level };
  }

  // Draws the best level that is there, and asks for the right one; returns which it drew.
  draw(view, palette, state, redraw) {
    const { levels } = this.shown;
    const level = levelFor(view.scale, levels.length);
    if (levels[level] === null) this.#load(level, redraw);
    const best = levels[level] ?? levels.find((one) => one);
    if (!best) return null;
    this.painter.paint(view, best, palette);
    drawOverlays(this.overlay, view, { ...state, words: (x, y) => state.words(this, x, y) });
    return best.level;
  }

  async #load(level, redraw) {
    const { path, about, levels } = this.shown;
    levels[level] = undefined; // it comes
    levels[level] = await this.#fetch(path, about, level);
    if (this.shown.levels === levels) redraw();
  }

  // The code of a PE in a map, if it need not be asked for.
  codeAt([x, y], width) {
    return this.shown?.levels[0]?.codes[y * width + x];
  }

  async valueAt(map, path, [x, y], run) {
    const about = await getJson(`${this.folder}maps/${path}.json`);
    const isShown = this.shown?.path === path && this.shown.levels[0];
    const { codes } = isShown ? this.shown.levels[0] : await this.#fetch(path, about, 0);
    return this.worth(map, about, codes[y * run.width + x], run);
  }

  // What a code of a map says, as text.
  worth({ unit }, { highest }, code, run) {
    if (unit === "part") return run.parts[code - 1] ?? "none";
    if (unit === "program" && this.isDifference) return code === NO_DIFFERENCE ? "the same" : "another one";
    if (unit === "program") return `${code - 1}`;
    const share = this.isDifference ? (code - NO_DIFFERENCE) / (NO_DIFFERENCE - 1) : Math.max(0, code - 1) / 254;
    return `≈ ${quantity(code === 0 ? 0 : share * highest, unit)}`;
  }
}

// Makes the panes of a run, or of two.
export function makePanes(run, renderer) {
  const first = by("pane");
  const sources = run.other
    ? [
        { folder: "a/", letter: "A", caption: `A: ${run.title}, ${count(run.cycles)} cycles` },
        { folder: "b/", letter: "B", caption: `B: ${run.other.title}, ${count(run.other.cycles)} cycles` },
        { folder: "difference/", letter: "B − A", caption: `B − A: ${run.other.change}` },
      ]
    : [{ folder: "", letter: "", caption: "" }];
  const roots = sources.map((_, i) => {
    if (i === 0) return first;
    const root = first.cloneNode(true);
    for (const one of [root, ...root.querySelectorAll("[id]")]) one.removeAttribute("id");
    by("panes").append(root);
    return root;
  });
  return sources.map((source, i) => new Pane(roots[i], source, renderer));
}
