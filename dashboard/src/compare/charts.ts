/** Several runs in one chart over rounds. Pure. */
import type { MetricSeries, RunDetail } from "../api/types";
import type { TableModel } from "../charts/chart-card";
import { LOOKS, type Look } from "../charts/marks";
import type { ChartModel, Point } from "../charts/model";
import { accuracyDomain, zeroDomain } from "../charts/scales";
import * as format from "../format/numbers";
import { worst } from "../frontier/model";

export interface Compared {
  run: RunDetail;
  look: Look;
  /** A to F, by place. */
  letter: string;
  /** What tells it from the others, or nothing. */
  short: string;
  accuracy: MetricSeries;
  loss: MetricSeries;
  epsilon: MetricSeries;
}

export function lookOf(place: number): { look: Look; letter: string } {
  const [first] = LOOKS;
  const look = LOOKS[place] ?? first;
  if (!look) throw new Error("there are no looks");
  return { look, letter: "ABCDEF"[place] ?? "?" };
}

function globalPoints(metric: MetricSeries): Point[] {
  const own = metric.series.find((series) => series.site === "global");
  return own?.rounds.map((round, index) => ({ round, value: own.values[index] ?? null })) ?? [];
}

/** ε of the run at its worst site after each round. */
export function epsilonPoints(metric: MetricSeries): Point[] {
  return worst(metric.series.filter((series) => series.site !== "global"));
}

interface Quantity {
  name: string;
  points: (compared: Compared) => Point[];
  values: (values: readonly number[]) => [number, number];
  write: (value: number) => string;
  tick?: (value: number) => string;
}

export const ACCURACY: Quantity = {
  name: "Accuracy of the global models on the public validation set",
  points: ({ accuracy }) => globalPoints(accuracy),
  values: accuracyDomain,
  write: format.accuracy,
  tick: (value) => `${Math.round(100 * value)} %`,
};

export const LOSS: Quantity = {
  name: "Loss of the global models on the public validation set",
  points: ({ loss }) => globalPoints(loss),
  values: zeroDomain,
  write: format.loss,
};

export const EPSILON: Quantity = {
  name: "Epsilon of each run at its worst site",
  points: ({ epsilon }) => epsilonPoints(epsilon),
  values: zeroDomain,
  write: (value) => `ε ${format.spent(value)}`,
};

export function runsChart(
  compared: readonly Compared[],
  quantity: Quantity,
): { model: ChartModel; table: TableModel } {
  const lines = compared.map((entry) => ({ ...entry, points: quantity.points(entry) }));
  const values = lines.flatMap(({ points }) => points.flatMap((point) => point.value ?? []));
  const at = lines.map(({ points }) => new Map(points.map(({ round, value }) => [round, value])));
  const rounds = [...new Set(lines.flatMap(({ points }) => points.map(({ round }) => round)))].sort(
    (a, b) => b - a,
  );
  const name = (entry: Compared) => (entry.short ? `${entry.letter} ${entry.short}` : entry.letter);
  return {
    model: {
      name: quantity.name,
      rounds: [0, Math.max(1, ...compared.map(({ run }) => run.rounds))],
      values: quantity.values(values),
      ...(quantity.tick ? { format: quantity.tick } : {}),
      series: lines.map(({ points, ...entry }) => ({
        id: entry.run.run_id,
        name: name(entry),
        ...entry.look,
        points,
        label: { text: name(entry) },
      })),
      tooltip: (round) =>
        lines.flatMap((entry, index) => {
          const value = at[index]?.get(round);
          const { tone, shape } = entry.look;
          if (value == null && round > entry.run.round) return [];
          return [
            { name: name(entry), value: value == null ? "not released" : quantity.write(value), tone, shape },
          ];
        }),
    },
    table: {
      columns: ["Round", ...compared.map(name)],
      rows: rounds.map((round) => [
        String(round),
        ...at.map((known) => {
          const value = known.get(round);
          return value == null ? format.NOT_APPLICABLE : quantity.write(value);
        }),
      ]),
    },
  };
}
