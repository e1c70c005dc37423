/** Numbers as a person reads them: spent privacy is never understated, remaining privacy never overstated. */

/** Stands where a figure does not apply. Never a zero, which would be a figure. */
export const NOT_APPLICABLE = "–";
/** Stands where a figure exists at a site but was not released. */
export const NOT_RELEASED = "not released: would cost privacy";

const NARROW_SPACE = "\u202f";

/** `value`, which must be finite and not negative, as a whole number of 10^-digits, and whether something is left over. */
function scaled(value: number, digits: number): { units: bigint; rest: boolean } {
  const [mantissa = "0", exponent = "0"] = String(value).split("e");
  const [whole = "0", fraction = ""] = mantissa.split(".");
  const shift = digits - fraction.length + Number(exponent);
  const number = BigInt(whole + fraction);
  if (shift >= 0) return { units: number * 10n ** BigInt(shift), rest: false };
  const divisor = 10n ** BigInt(-shift);
  return { units: number / divisor, rest: number % divisor !== 0n };
}

function decimal(units: bigint, digits: number): string {
  const text = String(units).padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** Rounded up, exactly on the decimal spelling: 0.94 stays 0.94 and 0.9401 is 0.95. */
export function roundUp(value: number, digits = 2): string {
  const { units, rest } = scaled(value, digits);
  return decimal(rest ? units + 1n : units, digits);
}

/** Rounded down, exactly on the decimal spelling. */
export function roundDown(value: number, digits = 2): string {
  return decimal(scaled(value, digits).units, digits);
}

/** Epsilon that has been spent. */
export function spent(epsilon: number): string {
  return Number.isFinite(epsilon) ? roundUp(Math.max(0, epsilon)) : "∞";
}

/** Epsilon that is left of a limit. */
export function remaining(epsilon: number): string {
  return roundDown(Math.max(0, epsilon));
}

/** A limit or target, which somebody typed: two decimals, more only if it has more. */
export function limit(epsilon: number): string {
  const exact = String(epsilon);
  const fixed = epsilon.toFixed(2);
  return Number(fixed) === epsilon ? fixed : exact;
}

/** Spent share of a limit in whole percent, rounded up; 100 % only when nothing is left. */
export function share(part: number, whole: number): string {
  if (whole <= 0) return NOT_APPLICABLE;
  const percent = Number(roundUp((100 * part) / whole, 0));
  return `${part < whole ? Math.min(percent, 99) : percent}${NARROW_SPACE}%`;
}

/** A proportion in percent with one decimal. */
export function accuracy(value: number): string {
  return `${(100 * value).toFixed(1)}${NARROW_SPACE}%`;
}

/** A difference of two proportions, in points. */
export function points(difference: number): string {
  const value = Math.round(1000 * difference) / 10;
  const sign = value > 0 ? "+" : value < 0 ? "−" : "±";
  return `${sign}${Math.abs(value).toFixed(1)} points`;
}

export function loss(value: number): string {
  return value.toFixed(3);
}

/** δ as it is written in a policy: 1e-5. */
export function delta(value: number): string {
  return value.toExponential().replace("e-", "e−");
}

/** A noise multiplier, clipping bound or rate: up to four significant digits. */
export function constant(value: number): string {
  return String(Number(value.toPrecision(4)));
}

export function milliseconds(value: number): string {
  if (value < 1000) return `${String(Math.round(value))}${NARROW_SPACE}ms`;
  return seconds(value / 1000);
}

export function seconds(value: number): string {
  if (value < 60) return `${value.toFixed(1)}${NARROW_SPACE}s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60)
    return `${String(minutes)}${NARROW_SPACE}min ${String(Math.floor(value % 60))}${NARROW_SPACE}s`;
  return `${String(Math.floor(minutes / 60))}${NARROW_SPACE}h ${String(minutes % 60)}${NARROW_SPACE}min`;
}

export function plural(count: number, noun: string, several = `${noun}s`): string {
  return `${String(count)} ${count === 1 ? noun : several}`;
}

/** 95 % Wilson score interval of a proportion seen on `size` independent records. */
export function wilson(proportion: number, size: number): [number, number] {
  const z = 1.959963984540054;
  const z2 = z * z;
  const centre = (proportion + z2 / (2 * size)) / (1 + z2 / size);
  const half =
    (z / (1 + z2 / size)) * Math.sqrt((proportion * (1 - proportion)) / size + z2 / (4 * size * size));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/** "88.9 to 97.5 %". */
export function percentRange(low: number, high: number): string {
  return `${(100 * low).toFixed(1)} to ${accuracy(high)}`;
}
