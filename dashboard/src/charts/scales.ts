/** Axes: where rounds and figures are drawn, and what is written beside them. */
import { scaleLinear, type ScaleLinear } from "d3-scale";

export type Scale = ScaleLinear<number, number>;

export function linear(domain: readonly [number, number], range: readonly [number, number]): Scale {
  return scaleLinear(domain, range);
}

/** Whole rounds to write below the axis, at most one per `gap` pixels. */
export function roundTicks(scale: Scale, gap = 56): number[] {
  const [from = 0, to = 0] = scale.range();
  return scale.ticks(Math.max(1, Math.floor(Math.abs(to - from) / gap))).filter(Number.isInteger);
}

/** Accuracy is drawn from 50 % so that runs compare; from 0 only where a run is below that. */
export function accuracyDomain(values: readonly number[]): [number, number] {
  return Math.min(...values, 1) < 0.5 ? [0, 1] : [0.5, 1];
}

/** From zero to a round figure above the largest value. */
export function zeroDomain(values: readonly number[], least = 0.1): [number, number] {
  const [, top = least] = scaleLinear([0, Math.max(least, ...values)], [0, 1])
    .nice(4)
    .domain();
  return [0, top];
}

/** The element of `rounds` (ascending, not empty) nearest to `round`. */
export function nearest(rounds: readonly number[], round: number): number {
  let best = rounds[0] ?? 0;
  for (const candidate of rounds) if (Math.abs(candidate - round) < Math.abs(best - round)) best = candidate;
  return best;
}

/** One spelling for all ticks of an axis: as many decimals as the finest of them needs, and a bare 0. */
export function tickFormat(ticks: readonly number[]): (value: number) => string {
  const decimals = Math.max(
    0,
    ...ticks.map((tick) => (String(Number(tick.toFixed(6))).split(".")[1] ?? "").length),
  );
  return (value) => (value === 0 ? "0" : value.toFixed(decimals));
}
