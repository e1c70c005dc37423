/** What a chart over rounds is told to draw. */

import type { Shape } from "./marks";

/** Which of the theme's colours, and with it which meaning: the global model, privacy, background, or one of several
    runs side by side. */
export type Tone =
  "global" | "privacy" | "context" | "limit" | "run-1" | "run-2" | "run-3" | "run-4" | "run-5" | "run-6";

export interface Point {
  round: number;
  /** Null where nothing was released: the line breaks, it is never drawn at zero. */
  value: number | null;
}

export interface Series {
  id: string;
  name: string;
  tone: Tone;
  points: readonly Point[];
  /** Uncertainty around the line. */
  band?: readonly { round: number; low: number; high: number }[];
  /** Tint between the line and zero. */
  filled?: boolean;
  /** What is planned after the last point, dotted. */
  planned?: { round: number; value: number } | null;
  /** Written at the line's end; `note` below it. */
  label?: { text: string; note?: string };
  /** Released now and then instead of each round: points without a line. */
  scattered?: boolean;
  /** Uncertainty of single points, drawn as whiskers. */
  intervals?: readonly { round: number; low: number; high: number }[];
  /** Tells the line from its neighbours without its colour: a dash pattern, and the shape at its end. */
  dash?: string;
  shape?: Shape;
}

/** A horizontal line across the chart. */
export interface Rule {
  value: number;
  text: string;
  /** Stands for `text` where the chart is too narrow for it. */
  short: string;
  tone: "limit" | "warning";
}

export interface TooltipRow {
  name: string;
  value: string;
  tone?: Tone;
  shape?: Shape;
}

/** What stands on the horizontal axis where it is not rounds: whole numbers that each have a name. */
export interface Places {
  /** In a tooltip and in words: "Run of 5 Jan". */
  name: (place: number) => string;
  /** Below the axis; empty where there is no room for it. */
  tick: (place: number) => string;
}

export interface ChartModel {
  /** What is drawn, for somebody who hears it: "Accuracy of the global model". */
  name: string;
  /** Rounds of the horizontal axis, from first to planned last. */
  rounds: readonly [number, number];
  places?: Places;
  values: readonly [number, number];
  ticks?: readonly number[];
  /** How ticks are written; plain numbers where it is left out. */
  format?: (value: number) => string;
  series: readonly Series[];
  rules?: readonly Rule[];
  /** What is known of a round, in a tooltip and in words. */
  tooltip: (round: number) => TooltipRow[];
}

/** Rounds at which at least one series has a value, in order. */
export function roundsOf(series: readonly Series[]): number[] {
  const rounds = new Set<number>();
  for (const { points } of series)
    for (const { round, value } of points) if (value !== null) rounds.add(round);
  return [...rounds].sort((a, b) => a - b);
}

/** The last point that has a value. */
export function lastPoint(points: readonly Point[]): { round: number; value: number } | null {
  for (const { round, value } of points.toReversed()) if (value !== null) return { round, value };
  return null;
}

/** "Round 7", or what the model calls that place. */
export function placeName(model: ChartModel, round: number): string {
  return model.places ? model.places.name(round) : `Round ${round}`;
}

/** A round in words: "Round 7: Global 94.7 %, 95 % interval 88.9 % to 97.5 %". */
export function describe(model: ChartModel, round: number): string {
  const rows = model.tooltip(round).map(({ name, value }) => `${name} ${value}`);
  return `${placeName(model, round)}: ${rows.join(", ")}`;
}
