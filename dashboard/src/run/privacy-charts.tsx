import { useMemo } from "react";

import type { RunDetail, RunPrivacy, SitePrivacy } from "../api/types";
import { ChartCard, type TableModel } from "../charts/chart-card";
import { lastPoint, type ChartModel, type Point, type Series } from "../charts/model";
import { zeroDomain } from "../charts/scales";
import * as format from "../format/numbers";
import { budgetOf, budgetsOf, byShare, closestToLimit } from "./budget";

interface PrivacyProps {
  run: RunDetail;
  privacy: RunPrivacy;
  /** The site that is singled out, or null for the one closest to its limit. */
  site: string | null;
}

/** More lines than this are drawn without their names; the table has them. */
const NAMED_SITES = 6;
/** Lines that end this close, as a share of the axis, are one line to the eye and get one label. */
const SAME = 0.02;

export function LifetimeChart({ run, privacy, site }: PrivacyProps) {
  const shown = shownSite(privacy, site);
  const { model, table } = useMemo(() => lifetimeModel(run, privacy, shown), [run, privacy, shown]);
  return (
    <ChartCard
      title="Privacy budget used"
      note={lifetimeNote(privacy, shown, site !== null)}
      model={model}
      table={table}
      empty={shown ? null : <p>{waitingText(run)}</p>}
    />
  );
}

export function RunPrivacyChart({ run, privacy, site }: PrivacyProps) {
  const shown = shownSite(privacy, site);
  const { model, table } = useMemo(() => runModel(run, privacy, shown), [run, privacy, shown]);
  return (
    <ChartCard
      title="Privacy of this run"
      note={`ε of this run’s releases, at most ${format.limit(run.epsilon_target)} for each record at δ ${format.delta(run.delta)}`}
      model={model}
      table={table}
      empty={shown ? null : <p>{waitingText(run)}</p>}
    />
  );
}

function lifetimeNote(privacy: RunPrivacy, shown: string | null, chosen: boolean): string {
  const what = "Share of each site’s own limit";
  if (shown === null) return what;
  if (chosen) return `${what}. Highlighted: ${shown}`;
  const shares = budgetsOf(privacy).map((budget) => budget.spent / budget.limit);
  const even = shares.length > 1 && Math.max(...shares) - Math.min(...shares) < SAME;
  return even ? `${what}. All are about as far` : `${what}. Highlighted: ${shown}, closest to it`;
}

function waitingText(run: RunDetail): string {
  return run.state === "active"
    ? "The first release shows up here when it has been charged."
    : "Nothing was released.";
}

/** The highlighted site: the chosen one if it has released, else the closest to its limit. */
function shownSite(privacy: RunPrivacy, chosen: string | null): string | null {
  const budgets = budgetsOf(privacy);
  if (budgets.some((budget) => budget.site === chosen)) return chosen;
  return closestToLimit(budgets)?.site ?? null;
}

function pointsOf(site: SitePrivacy, values: readonly number[], scale = 1): Point[] {
  return site.rounds.map((round, index) => ({ round, value: (values[index] ?? 0) / scale }));
}

/**
 * The note below the highlighted label, and which other lines get their name. Lines that run together are one line
 * to the eye: they share the note, because names would be written upon one another.
 */
function naming(
  lines: readonly { site: string; points: readonly Point[] }[],
  shown: string | null,
  axis: number,
) {
  const own = lines.find(({ site }) => site === shown);
  const ownAt = new Map(own?.points.map(({ round, value }) => [round, value ?? 0]));
  const ownEnd = lastPoint(own?.points ?? []);
  let together = 0;
  const named = new Set<string>();
  for (const { site, points } of lines) {
    const end = lastPoint(points);
    const distance = end && Math.abs(end.value - (ownAt.get(end.round) ?? Infinity));
    if (distance === null || distance >= SAME * axis) named.add(site);
    // While a round is open, some sites have released in it already and some have not yet.
    else if (end && ownEnd && ownEnd.round - end.round <= 1) together += 1;
  }
  const note =
    together < 2 ? shown : together === lines.length ? `all ${together} sites` : `${together} sites`;
  return { note: note ?? "", named: lines.length <= NAMED_SITES ? named : new Set<string>() };
}

export function lifetimeModel(
  run: RunDetail,
  privacy: RunPrivacy,
  shown: string | null,
): { model: ChartModel; table: TableModel } {
  const sites = byShare(privacy.sites).flatMap((site) => {
    const budget = budgetOf(site);
    return budget ? [{ site, budget }] : [];
  });
  const lines = sites.map(({ site, budget }) => ({
    site: site.site,
    points: pointsOf(site, site.epsilon_spent, budget.limit),
    budget,
  }));
  const { note, named } = naming(lines, shown, 1);
  const series = lines.map(({ points, budget }): Series => {
    const own = budget.site === shown;
    const toCome = run.state === "active" && budget.planned > budget.spent;
    return {
      id: budget.site,
      name: budget.site,
      tone: own ? "privacy" : "context",
      points,
      filled: own,
      planned: own && toCome ? { round: run.rounds, value: budget.planned / budget.limit } : null,
      ...(own
        ? { label: { text: `ε ${format.spent(budget.spent)} of ${format.limit(budget.limit)}`, note } }
        : named.has(budget.site)
          ? { label: { text: budget.site } }
          : {}),
    };
  });
  const own = sites.find(({ budget }) => budget.site === shown);
  const at = new Map(own?.site.rounds.map((round, index) => [round, own.site.epsilon_spent[index] ?? 0]));
  const limit = own?.budget.limit ?? 1;
  const spentRow = (epsilon: number) => ({
    spent: format.spent(epsilon),
    left: format.remaining(limit - epsilon),
    used: format.share(epsilon, limit),
  });
  return {
    model: {
      name: `Privacy budget used at ${shown ?? "no site"}, lifetime`,
      rounds: [0, run.rounds],
      values: [0, 1.12],
      ticks: [0, 0.25, 0.5, 0.75, 1],
      format: (value) => `${Math.round(100 * value)} %`,
      series: series.toSorted((a, b) => Number(a.tone === "privacy") - Number(b.tone === "privacy")),
      rules: [
        {
          value: 1,
          text: "Lifetime limit: a site stops before it is passed",
          short: "Lifetime limit",
          tone: "limit",
        },
      ],
      tooltip: (round) => {
        const epsilon = at.get(round);
        if (epsilon === undefined) return [{ name: shown ?? "", value: "no release", tone: "privacy" }];
        const row = spentRow(epsilon);
        return [
          { name: shown ?? "", value: `ε ${row.spent}`, tone: "privacy" },
          { name: "Share of limit", value: row.used },
          { name: "Remaining", value: `ε ${row.left}` },
        ];
      },
    },
    table: {
      columns: ["Round", "ε spent", "ε remaining", "Used"],
      rows: [...at].reverse().map(([round, epsilon]) => {
        const row = spentRow(epsilon);
        return [String(round), row.spent, row.left, row.used];
      }),
    },
  };
}

export function runModel(
  run: RunDetail,
  privacy: RunPrivacy,
  shown: string | null,
): { model: ChartModel; table: TableModel } {
  const target = run.epsilon_target;
  const released = privacy.sites.filter((site) => site.epsilon_run.length > 0);
  const lines = released.map((site) => ({ site: site.site, points: pointsOf(site, site.epsilon_run) }));
  const values = zeroDomain([1.1 * target, ...released.flatMap((site) => site.epsilon_run)], 0.01);
  const { note, named } = naming(lines, shown, values[1]);
  const series = lines.map(({ site, points }): Series => {
    const own = site === shown;
    const last = lastPoint(points)?.value ?? 0;
    return {
      id: site,
      name: site,
      tone: own ? "privacy" : "context",
      points,
      filled: own,
      planned: own && run.state === "active" && last < target ? { round: run.rounds, value: target } : null,
      ...(own
        ? { label: { text: `ε ${format.spent(last)}`, note } }
        : named.has(site)
          ? { label: { text: site } }
          : {}),
    };
  });
  const own = released.find((site) => site.site === shown);
  const at = new Map(own?.rounds.map((round, index) => [round, own.epsilon_run[index] ?? 0]));
  const phase = (round: number) => (round === 0 ? "Centring" : "Training");
  return {
    model: {
      name: `Epsilon of this run at ${shown ?? "no site"}`,
      rounds: [0, run.rounds],
      values,
      series: series.toSorted((a, b) => Number(a.tone === "privacy") - Number(b.tone === "privacy")),
      rules: [
        {
          value: target,
          text: `Target of this run: ε ${format.limit(target)}`,
          short: "Target",
          tone: "limit",
        },
      ],
      tooltip: (round) => {
        const epsilon = at.get(round);
        if (epsilon === undefined) return [{ name: shown ?? "", value: "no release", tone: "privacy" }];
        return [
          { name: shown ?? "", value: `ε ${format.spent(epsilon)}`, tone: "privacy" },
          { name: "Remaining", value: `ε ${format.remaining(target - epsilon)}` },
          { name: "Release", value: phase(round) },
        ];
      },
    },
    table: {
      columns: ["Round", "ε of this run", "ε remaining", "Release"],
      rows: [...at]
        .reverse()
        .map(([round, epsilon]) => [
          String(round),
          format.spent(epsilon),
          format.remaining(target - epsilon),
          phase(round),
        ]),
    },
  };
}
