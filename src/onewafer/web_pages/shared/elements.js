// Elements. What a user wrote is only ever text.

export const by = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// A table; columns are [heading, class], rows are lists of texts or elements, or one heading for
// the rows behind it.
export function table(columns, rows) {
  const heads = columns.map(([heading, kind]) =>
    element("th", { scope: "col", class: kind }, heading),
  );
  const body = element("tbody");
  for (const row of rows) {
    const { cells = row, attributes = {}, heading } = row;
    const made = heading
      ? [element("th", { scope: "rowgroup", colspan: columns.length }, heading)]
      : cells.map((cell, i) => element("td", { class: columns[i][1] }, cell));
    body.append(element("tr", attributes, ...made));
  }
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
}
