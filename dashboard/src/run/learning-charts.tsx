import { useMemo } from "react";

import type { MetricSeries, RunDetail } from "../api/types";
import { ChartCard, type TableModel } from "../charts/chart-card";
import type { ChartModel, Point, Series, TooltipRow } from "../charts/model";
import { accuracyDomain, zeroDomain } from "../charts/scales";
import * as format from "../format/numbers";

interface LearningProps {
  run: RunDetail;
  metric: MetricSeries;
}

function pointsOf(series: MetricSeries["series"][number] | undefined): Point[] {
  return series?.rounds.map((round, index) => ({ round, value: series.values[index] ?? null })) ?? [];
}

/** The global model's points and what sites released under differential privacy. */
function parts(metric: MetricSeries): { global: Point[]; sites: Series[] } {
  return {
    global: pointsOf(metric.series.find((series) => series.site === "global")),
    sites: metric.series
      .filter((series) => series.site !== "global")
      .map((series) => ({
        id: series.site,
        name: series.site,
        tone: "context",
        points: pointsOf(series),
        scattered: true,
      })),
  };
}

const valuesOf = (points: readonly Point[]) => points.flatMap((point) => point.value ?? []);

export function AccuracyChart({ run, metric }: LearningProps) {
  const { model, table } = useMemo(() => accuracyModel(run, metric), [run, metric]);
  return (
    <ChartCard
      title="Accuracy"
      note={accuracyNote(run, metric)}
      model={model}
      table={table}
      empty={emptyOf(run, model)}
    />
  );
}

export function LossChart({ run, metric }: LearningProps) {
  const { model, table } = useMemo(() => lossModel(run, metric), [run, metric]);
  return (
    <ChartCard
      title="Loss"
      note={note(run, metric, "Cross-entropy of the global model on the public validation set")}
      model={model}
      table={table}
      empty={emptyOf(run, model)}
    />
  );
}

function accuracyNote(run: RunDetail, metric: MetricSeries): string {
  const released = run.evaluations.length > 0;
  if (!run.public_validation) {
    return released
      ? "Released under differential privacy on held-out records, with the 95 % interval"
      : note(run, metric, "");
  }
  const text = "Global model on the public validation set, with its 95 % interval";
  return note(run, metric, released ? `${text}. Squares: held-out records, under DP` : text);
}

/** What sites released of their held-out records, with intervals that include the noise. */
function heldOut(run: RunDetail): { series: Series; rows: Map<number, TooltipRow[]> } | null {
  const known = run.evaluations.flatMap(({ round, epsilon, figures }) => {
    const estimate = figures.accuracy;
    return estimate?.value == null ? [] : [{ round, epsilon, ...estimate, value: estimate.value }];
  });
  if (known.length === 0) return null;
  const look = { tone: "privacy", shape: "square" } as const;
  return {
    series: {
      id: "held-out",
      name: "Held-out records",
      ...look,
      points: known,
      intervals: known,
      scattered: true,
      label: { text: "Held-out, DP", note: `ε ${format.spent(known.at(-1)?.epsilon ?? 0)}` },
    },
    rows: new Map(
      known.map(({ round, value, low, high, epsilon }) => [
        round,
        [
          { name: "Held-out, DP", value: format.accuracy(value), ...look },
          { name: "95 % with noise", value: format.percentRange(low, high) },
          { name: "Cost of the release", value: `ε ${format.spent(epsilon)}` },
        ],
      ]),
    ),
  };
}

function note(run: RunDetail, metric: MetricSeries, text: string): string {
  if (!run.public_validation) return "This run names no public validation set";
  return metric.sampled ? `${text}; ${metric.total} points, bucketed` : text;
}

function emptyOf(run: RunDetail, model: ChartModel) {
  if (model.series.some((series) => valuesOf(series.points).length > 0)) return null;
  if (!run.public_validation) {
    return (
      <>
        <strong>Not released: would cost privacy</strong>
        <p>
          On a site&rsquo;s own records this figure would be a disclosure of its own, so no site sends it.
        </p>
      </>
    );
  }
  return (
    <p>{run.state === "active" ? "The first round shows up here when it closes." : "No round was closed."}</p>
  );
}

export function accuracyModel(
  run: RunDetail,
  metric: MetricSeries,
): { model: ChartModel; table: TableModel } {
  const { global, sites } = parts(metric);
  const size = run.public_validation?.size;
  const interval = (value: number | null) => (size && value !== null ? format.wilson(value, size) : null);
  const released = heldOut(run);
  const lows = released?.series.intervals?.map(({ low }) => low) ?? [];
  const values = accuracyDomain([...valuesOf(global), ...lows]);
  const band = global.flatMap(({ round, value }) => {
    const range = interval(value);
    return range ? [{ round, low: Math.max(values[0], range[0]), high: range[1] }] : [];
  });
  const at = new Map(global.map(({ round, value }) => [round, value]));
  return {
    model: {
      name: "Accuracy of the global model on the public validation set",
      rounds: [0, run.rounds],
      values,
      format: (value) => `${Math.round(100 * value)} %`,
      series: [
        ...sites,
        { id: "global", name: "Global", tone: "global", points: global, band, label: { text: "Global" } },
        ...(released ? [released.series] : []),
      ],
      tooltip: (round) => {
        const value = at.get(round) ?? null;
        const range = interval(value);
        const own = released?.rows.get(round) ?? [];
        if (value === null) {
          if (own.length > 0) return own;
          return [{ name: "Global", value: round === 0 ? "not evaluated" : "not released", tone: "global" }];
        }
        return [
          { name: "Global", value: format.accuracy(value), tone: "global" },
          ...(range ? [{ name: "95 % interval", value: format.percentRange(range[0], range[1]) }] : []),
          ...own,
        ];
      },
    },
    table: {
      columns: [
        "Round",
        "Accuracy",
        "95 % interval",
        ...(released ? ["Held-out, DP", "95 % with noise"] : []),
      ],
      rows: [...new Set([...at.keys(), ...(released?.rows.keys() ?? [])])]
        .sort((a, b) => b - a)
        .map((round) => {
          const value = at.get(round) ?? null;
          const range = interval(value);
          const own = released?.rows.get(round)?.map((row) => row.value) ?? [];
          return [
            String(round),
            value === null ? format.NOT_RELEASED : format.accuracy(value),
            range ? format.percentRange(range[0], range[1]) : format.NOT_APPLICABLE,
            ...(released ? [own[0] ?? format.NOT_APPLICABLE, own[1] ?? format.NOT_APPLICABLE] : []),
          ];
        }),
    },
  };
}

export function lossModel(run: RunDetail, metric: MetricSeries): { model: ChartModel; table: TableModel } {
  const { global, sites } = parts(metric);
  const at = new Map(global.map(({ round, value }) => [round, value]));
  return {
    model: {
      name: "Loss of the global model on the public validation set",
      rounds: [0, run.rounds],
      values: zeroDomain([...valuesOf(global), ...sites.flatMap((site) => valuesOf(site.points))]),
      series: [
        ...sites,
        { id: "global", name: "Global", tone: "global", points: global, label: { text: "Global" } },
      ],
      tooltip: (round) => {
        const value = at.get(round) ?? null;
        const text = value !== null ? format.loss(value) : round === 0 ? "not evaluated" : "not released";
        return [{ name: "Global", value: text, tone: "global" }];
      },
    },
    table: {
      columns: ["Round", "Loss"],
      rows: global
        .toReversed()
        .map(({ round, value }) => [
          String(round),
          value === null ? format.NOT_RELEASED : format.loss(value),
        ]),
    },
  };
}
