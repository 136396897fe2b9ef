// Numbers as people write them.

const SECONDS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];
const JOULES = [
  [1, "J"],
  [1e-3, "mJ"],
  [1e-6, "µJ"],
  [1e-9, "nJ"],
  [1e-12, "pJ"],
];
const BYTES = [
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
  [1, "B"],
];
const MANY = 100; // from here on without decimals

export function number(value) {
  const digits =
    Math.abs(value) >= MANY ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en", digits);
}

export function count(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

function scaled(value, units) {
  const [scale, unit] = units.find(([one]) => Math.abs(value) >= one) ?? units.at(-1);
  return value === 0 ? `0 ${units.find(([one]) => one === 1)[1]}` : `${number(value / scale)} ${unit}`;
}

export function seconds(value) {
  return scaled(value, SECONDS);
}

export function bytes(value) {
  return scaled(value, BYTES);
}

export function percent(share) {
  return `${number(100 * share)} %`;
}

// A value of a map.
export function quantity(value, unit) {
  switch (unit) {
    case "share":
      return percent(value);
    case "units":
      return `${number(value)} ${value === 1 ? "unit" : "units"}`;
    case "bytes":
      return bytes(value);
    case "joules":
      return scaled(value, JOULES);
    case "cycles":
      return `${count(value)} cycles`;
    default:
      return count(value);
  }
}

// "1 launch", "7 launches": the plural may be given.
export function counted(value, noun, plural = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}
