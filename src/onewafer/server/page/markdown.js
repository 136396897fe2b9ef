// What a model writes, shown as Markdown. Nothing of it can run, ask another server, or look like a
// part of the page: markup in it is text, what `marked` makes of the rest passes DOMPurify, and the
// page's own policy lets no script in but the files of this server.

import "./vendor/purify.min.js"; // makes DOMPurify
import { Marked } from "./vendor/marked.esm.js";
import { element } from "./elements.js";

const COPIED_MILLISECONDS = 1500;
const HARMLESS = {
  ALLOWED_TAGS: [
    ..."p br hr h3 strong em del blockquote ul ol li table thead tbody tr th td".split(" "),
    ..."a pre code span".split(" "),
  ],
  ALLOWED_ATTR: ["href", "title", "align", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i, // no addresses of this server
  ADD_URI_SAFE_ATTR: ["align", "start"], // no addresses at all
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const markdown = new Marked({ gfm: true, breaks: false });
markdown.use({
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ tokens, depth }) {
      return `<h3 class="depth-${depth}">${this.parser.parseInline(tokens)}</h3>`;
    },
    code: ({ text, lang }) => {
      return `<pre><code class="language-${nameOf(lang)}">${escaped(text)}</code></pre>`;
    },
  },
});
let highlighter = null; // once there is code

// Shows a text in an element. Blocks that are as before stay as they are, with what is selected.
export function show(target, text) {
  const tokens = markdown.lexer(text);
  const numLinks = Object.keys(tokens.links).length; // links may be named before they are defined
  const before = [...target.children];
  tokens.forEach((token, i) => {
    const block = before[i];
    if (block?.raw === token.raw && block.numLinks === numLinks) return;
    const made = Object.assign(makeBlock(token), { raw: token.raw, numLinks });
    if (block) block.replaceWith(made);
    else target.append(made);
  });
  before.slice(tokens.length).forEach((block) => block.remove());
}

function makeBlock(token) {
  const fragment = DOMPurify.sanitize(markdown.parser([token]), HARMLESS);
  const block = element("div", { class: "block" }, fragment);
  block.querySelectorAll("a").forEach((link) => {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  });
  block.querySelectorAll("table").forEach((table) => scroll(table, "Table"));
  block.querySelectorAll("pre").forEach(frame);
  return block;
}

// Gives code its language, a button that copies it, and colors.
function frame(pre) {
  const code = pre.firstElementChild;
  const language = code.className.replace("language-", "");
  const bar = element("p", { class: "bar" }, element("span", {}, language || "text"));
  bar.append(...copyButtons(() => code.textContent));
  const around = element("div", { class: "code" });
  pre.replaceWith(around);
  around.append(bar, pre);
  scroll(pre, "Code");
  color(code, language);
}

// Puts an element into one that scrolls sideways, by keys, too.
function scroll(inner, name) {
  const around = { class: "scrolled", tabindex: "0", role: "group", "aria-label": name };
  const made = element("div", around);
  inner.replaceWith(made);
  made.append(inner);
  return made;
}

// Returns a button that copies a text, where the browser lets pages do that.
export function copyButtons(text) {
  if (!navigator.clipboard) return [];
  const button = element("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), COPIED_MILLISECONDS);
  });
  return [button];
}

async function color(code, language) {
  if (!language) return;
  highlighter ??= import("./vendor/highlight.min.js").then((module) => module.default);
  const found = await highlighter;
  if (!found.getLanguage(language)) return;
  const { value } = found.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, HARMLESS));
}

function nameOf(lang) {
  return (lang ?? "").match(/^[\w+#.-]{0,30}/)[0].toLowerCase();
}

function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (letter) => names[letter]);
}
