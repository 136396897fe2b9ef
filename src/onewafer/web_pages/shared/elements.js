// Elements and numbers as text. What a user wrote is only ever text.

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

// A table; columns are [heading, class], rows are lists of texts or elements.
export function table(columns, rows) {
  const heads = columns.map(([heading, kind]) =>
    element("th", { scope: "col", class: kind }, heading),
  );
  const body = element("tbody");
  for (const { cells, attributes } of rows.map((row) => (row.cells ? row : { cells: row }))) {
    const made = cells.map((cell, i) => element("td", { class: columns[i][1] }, cell));
    body.append(element("tr", attributes, ...made));
  }
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
}

export function count(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

export function quantity(value, unit) {
  switch (unit) {
    case "share":
      return `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
    case "units":
      return `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} units`;
    case "bytes":
      return `${count(value)} B`;
    case "joules":
      return `${value.toExponential(2)} J`;
    default:
      return count(value);
  }
}
