// Numbers as people write them.

const SECONDS = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];
const MANY = 100; // from here on without decimals

export function number(value) {
  const digits =
    Math.abs(value) >= MANY ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en", digits);
}

export function seconds(value) {
  const [scale, unit] = SECONDS.find(([scale]) => value >= scale) ?? SECONDS.at(-1);
  return value === 0 ? "0 s" : `${number(value / scale)} ${unit}`;
}

// "1 launch", "7 launches": the plural may be given.
export function counted(value, noun, plural = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}
