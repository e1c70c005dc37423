/** The chart of lifetime epsilon over runs, and its table. Pure: accounts in, a model out. */
import type { Account } from "../api/types";
import type { TableModel } from "../charts/chart-card";
import { lastPoint, type ChartModel, type Point, type Series } from "../charts/model";
import * as format from "../format/numbers";
import { utcDay, utcMinute, utcTime } from "../format/time";
import { accountKey, accountName, datasetsOf, runsOf, timeOfRun, toldOf, type Told } from "./figures";

/** More lines than this are drawn without their names; the table has them. */
const NAMED = 6;
/** Ends this close, as a share of the axis, would be written upon one another: one of them is named. */
const SAME = 0.05;

/** Lifetime epsilon after each run, of every account, as a share of its own limit; one is `shown` in full. */
export function lifetimeModel(
  accounts: readonly Account[],
  shown: Told | null,
): { model: ChartModel; table: TableModel } {
  const runs = runsOf(accounts);
  const place = new Map(runs.map((run, index) => [run, index + 1]));
  const several = datasetsOf(accounts).length > 1;
  const lines = accounts.flatMap((account) => {
    const told = toldOf(account);
    return told ? [{ told, points: pointsOf(told, place) }] : [];
  });
  const axis = Math.max(1, ...lines.map(({ told }) => told.planned / told.limit));
  const ends = lines.map(({ points }) => lastPoint(points)?.value ?? 0);
  const series = lines.map(({ told, points }, index): Series => {
    const own = told.account === shown?.account;
    const named =
      lines.length <= NAMED &&
      !ends.some((end, other) => other < index && Math.abs(end - (ends[index] ?? 0)) < SAME);
    const besides = shown && Math.abs((ends[index] ?? 0) - shown.spent / shown.limit) >= SAME;
    return {
      id: accountKey(told.account),
      name: accountName(told.account, several),
      tone: own ? "privacy" : "context",
      points,
      filled: own,
      ...(own
        ? {
            label: {
              text: `ε ${format.spent(told.spent)} of ${format.limit(told.limit)}`,
              note: accountName(told.account, several),
            },
          }
        : named && besides
          ? { label: { text: accountName(told.account, several) } }
          : {}),
    };
  });
  const history = shown?.account.history;
  const at = new Map(history?.run_ids.map((run, index) => [place.get(run) ?? 0, index]));
  const limit = shown?.limit ?? 1;
  return {
    model: {
      name: `Lifetime epsilon of ${shown ? accountName(shown.account, several) : "no site"}, run by run`,
      rounds: [0, Math.max(1, runs.length)],
      places: placesOf(runs),
      values: [0, 1.12 * axis],
      ticks: [0, 0.25, 0.5, 0.75, 1],
      format: (value) => `${Math.round(100 * value)} %`,
      series: series.toSorted((a, b) => Number(a.tone === "privacy") - Number(b.tone === "privacy")),
      rules: [
        {
          value: 1,
          text: "Each site’s own limit: it stops before that is passed",
          short: "Own limit",
          tone: "limit",
        },
      ],
      tooltip: (number) => {
        const index = at.get(number);
        const name = shown?.site ?? "";
        if (index === undefined || !history) {
          const before = shown?.account.epsilon_before;
          const first = Math.min(...at.keys()) - 1;
          const value = number === first && before != null ? `ε ${format.spent(before)}` : "took no part";
          return [{ name, value, tone: "privacy" }];
        }
        const after = history.epsilon_after[index] ?? 0;
        return [
          { name, value: `ε ${format.spent(after)}`, tone: "privacy" },
          { name: "Share of limit", value: format.share(after, limit) },
          { name: "This run alone", value: `ε ${format.spent(history.epsilon_run[index] ?? 0)}` },
        ];
      },
    },
    table: {
      columns: ["Run of", "This run alone", "Lifetime ε", "Remaining", "Used"],
      rows: [...at].reverse().map(([number, index]) => {
        const after = history?.epsilon_after[index] ?? 0;
        return [
          utcMinute(new Date(timeOfRun(runs[number - 1] ?? "")).toISOString()),
          format.spent(history?.epsilon_run[index] ?? 0),
          format.spent(after),
          format.remaining(limit - after),
          format.share(after, limit),
        ];
      }),
    },
  };
}

/** What had been spent before its first run here, then after each run that it joined. */
function pointsOf({ account, limit }: Told, place: ReadonlyMap<string, number>): Point[] {
  const { run_ids: runs, epsilon_after: after, epsilon_before: before } = account.history;
  const points = runs.map((run, index) => ({
    round: place.get(run) ?? 0,
    value: (after[index] ?? 0) / limit,
  }));
  const first = points[0];
  return first ? [{ round: first.round - 1, value: (before[0] ?? 0) / limit }, ...points] : [];
}

/** Runs by their day; by the time of day where all of them are of one day. */
function placesOf(runs: readonly string[]) {
  const times = runs.map((run) => new Date(timeOfRun(run)).toISOString());
  const days = new Set(times.map((time) => time.slice(0, 10)));
  const short = (iso: string) => (days.size > 1 ? utcDay(iso) : utcTime(iso).slice(0, 5));
  return {
    name: (number: number) => {
      const time = times[number - 1];
      return time === undefined ? "Before the first run here" : `Run of ${utcMinute(time)}`;
    },
    tick: (number: number) => {
      const time = times[number - 1];
      return time === undefined ? "before" : short(time);
    },
  };
}
