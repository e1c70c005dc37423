/** Privacy against accuracy over runs. Pure: the API's answer in, what to draw out. */
import type { Frontier, FrontierRun, Frontiers } from "../api/types";
import type { TableModel } from "../charts/chart-card";
import type { Look } from "../charts/marks";
import type { Point, TooltipRow } from "../charts/model";
import type { Place, PlaneModel, PlanePoint } from "../charts/scatter";
import { linear } from "../charts/scales";
import * as format from "../format/numbers";
import { utcMinute } from "../format/time";
import { STATE_WORDS } from "../run/words";

/** What a run is said to cost: its own ε, or how far it brought the lifetime budget that is nearest to its limit. */
export type Cost = "run" | "lifetime";

export const COST_WORDS: Record<Cost, string> = {
  run: "ε of the run",
  lifetime: "Lifetime budget",
};

export const MISSING_WORDS: Record<NonNullable<FrontierRun["missing"]>, string> = {
  no_round: "no round closed yet",
  not_evaluated: "evaluation still to come",
  not_released: format.NOT_RELEASED,
};

/** How a run that is singled out looks, and what is written beside it. */
export interface Singled {
  look: Look;
  label: string;
}

export interface FrontierView {
  frontier: Frontier;
  cost: Cost;
  singled: ReadonlyMap<string, Singled>;
  trail?: readonly Place[];
}

/** The frontier that most of these runs are on; null when they are on none. */
export function frontierOf(answer: Frontiers, runIds: readonly string[]): Frontier | null {
  const on = (frontier: Frontier) => frontier.runs.filter((run) => runIds.includes(run.run_id)).length;
  const [best = null] = answer.frontiers.toSorted((a, b) => on(b) - on(a));
  return best && on(best) > 0 ? best : null;
}

/** Corners of the best that was had at each cost: no other point costs as little or less and gives as much or more. */
export function steps(points: readonly Place[]): Place[] {
  let best = -Infinity;
  return points
    .toSorted((a, b) => a.x - b.x || b.y - a.y)
    .filter(({ y }) => {
      const better = y > best;
      if (better) best = y;
      return better;
    });
}

/** The largest value over several lines in each round, a line that has none in a round counting with its last. */
export function worst(
  lines: readonly { rounds: readonly number[]; values: readonly (number | null)[] }[],
): Point[] {
  const at = new Map<number, [number, number][]>();
  for (const [line, { rounds, values }] of lines.entries()) {
    for (const [place, round] of rounds.entries()) {
      const value = values[place];
      if (value != null) at.set(round, [...(at.get(round) ?? []), [line, value]]);
    }
  }
  const last = new Map<number, number>();
  return [...at.keys()]
    .sort((a, b) => a - b)
    .map((round) => {
      for (const [line, value] of at.get(round) ?? []) last.set(line, value);
      return { round, value: Math.max(...last.values()) };
    });
}

/** A run's way through its rounds: what it had cost, and what its model was worth by then. */
export function trailOf(cost: readonly Point[], accuracy: readonly Point[]): Place[] {
  const costs = new Map(cost.map(({ round, value }) => [round, value]));
  return accuracy.flatMap(({ round, value }) => {
    const x = costs.get(round);
    return value === null || x == null ? [] : [{ x, y: value }];
  });
}

/** Three digits tell runs apart; the table has the rest. */
const sigma = (run: FrontierRun) => String(Number(run.noise_multiplier.toPrecision(3)));

function costOf(run: FrontierRun, cost: Cost): number | null {
  return cost === "run" ? run.epsilon_run : (run.closest_budget?.share ?? null);
}

export function planeModel({ frontier, cost, singled, trail = [] }: FrontierView): PlaneModel {
  const placed = frontier.runs.flatMap((run) => {
    const x = costOf(run, cost);
    return x === null || run.value === null ? [] : [{ run, x, y: run.value }];
  });
  const sigmas = new Set(placed.map(({ run }) => sigma(run)));
  const points = placed
    .map(({ run, x, y }): PlanePoint => {
      const own = singled.get(run.run_id);
      const halted = run.state === "halted";
      return {
        id: run.run_id,
        x,
        y,
        tone: own?.look.tone ?? (halted ? "limit" : "context"),
        shape: own?.look.shape ?? (halted ? "diamond" : "circle"),
        singled: own !== undefined,
        interval: run.low !== null && run.high !== null ? [run.low, run.high] : null,
        label: own?.label ?? (sigmas.size > 1 ? `σ ${sigma(run)}` : ""),
        title: `${run.name}, ${utcMinute(run.created_at)}`,
        rows: rowsOf(run),
      };
    })
    .sort((a, b) => a.x - b.x || a.y - b.y);
  const limits = frontier.runs.flatMap((run) => run.closest_budget?.epsilon_limit ?? []);
  const farthest = Math.max(0, ...points.map(({ x }) => x));
  const least = Math.min(...limits);
  // A limit far to the right of every run would press them together; the caption names it.
  const limit =
    cost === "lifetime"
      ? { value: 1, text: "Limit" }
      : least <= 1.6 * farthest
        ? { value: least, text: `Lifetime limit ε ${format.limit(least)}` }
        : null;
  return {
    name: `Accuracy against ${cost === "run" ? "epsilon of the run" : "share of the lifetime limit"}, one mark per run`,
    x: {
      name:
        cost === "run"
          ? `ε of the run at its worst site, δ ${format.delta(frontier.delta)}`
          : "Lifetime budget used at the site closest to its limit",
      domain:
        cost === "run"
          ? [
              0,
              Math.max(
                linear([0, Math.max(0.1, farthest * 1.08)], [0, 1])
                  .nice(6)
                  .domain()[1] ?? 1,
                (limit?.value ?? 0) * 1.08,
              ),
            ]
          : [0, Math.max(1.1, farthest * 1.05)],
      format:
        cost === "run"
          ? (value) => String(Number(value.toFixed(3)))
          : (value) => `${Math.round(100 * value)} %`,
    },
    y: { domain: accuracySpan(points), format: (value) => `${Number((100 * value).toFixed(1))} %` },
    points,
    steps: cost === "run" ? steps(placed.filter(({ run }) => run.pareto)) : steps(points),
    trail,
    limit,
  };
}

/** Around the runs, their singled-out intervals included, so that differences of a point can be seen. */
function accuracySpan(points: readonly PlanePoint[]): [number, number] {
  const values = points.flatMap(({ y, singled, interval }) => (singled && interval ? [y, ...interval] : [y]));
  const [low, high] = values.length > 0 ? [Math.min(...values), Math.max(...values)] : [0.5, 1];
  const room = Math.max(0.01, 0.12 * (high - low));
  const [from = 0, to = 1] = linear([Math.max(0, low - room), Math.min(1, high + room)], [0, 1])
    .nice(5)
    .domain();
  return [Math.max(0, from), Math.min(1, to)];
}

function rowsOf(run: FrontierRun): TooltipRow[] {
  const budget = run.closest_budget;
  return [
    { name: "Accuracy", value: accuracyWords(run) },
    ...(run.low !== null && run.high !== null
      ? [{ name: "95 % interval", value: format.percentRange(run.low, run.high) }]
      : []),
    {
      name: "ε of the run",
      value: run.epsilon_run === null ? format.NOT_APPLICABLE : format.spent(run.epsilon_run),
    },
    ...(budget
      ? [
          {
            name: `Lifetime used, ${budget.site}`,
            value: format.share(budget.epsilon_spent, budget.epsilon_limit),
          },
        ]
      : []),
    { name: "Noise σ", value: format.constant(run.noise_multiplier) },
    { name: STATE_WORDS[run.state], value: `${run.round} of ${run.rounds} rounds` },
  ];
}

export function accuracyWords(run: FrontierRun): string {
  return run.value === null ? MISSING_WORDS[run.missing ?? "no_round"] : format.accuracy(run.value);
}

export function frontierTable(frontier: Frontier): TableModel {
  return {
    columns: [
      "Run",
      "Begun",
      "State",
      "Accuracy",
      "95 % interval",
      "ε of the run",
      "Lifetime used",
      "σ",
      "q",
      "Rounds",
      "No run beats it",
    ],
    rows: frontier.runs.map((run) => [
      run.name,
      utcMinute(run.created_at),
      STATE_WORDS[run.state],
      accuracyWords(run),
      run.low !== null && run.high !== null ? format.percentRange(run.low, run.high) : format.NOT_APPLICABLE,
      run.epsilon_run === null ? format.NOT_APPLICABLE : format.spent(run.epsilon_run),
      run.closest_budget
        ? format.share(run.closest_budget.epsilon_spent, run.closest_budget.epsilon_limit)
        : format.NOT_APPLICABLE,
      format.constant(run.noise_multiplier),
      format.constant(run.sample_rate),
      `${run.round} of ${run.rounds}`,
      run.pareto ? "yes" : format.NOT_APPLICABLE,
    ]),
  };
}
