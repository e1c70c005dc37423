/** What the state of a statement is called, and what it means. */
import type { SitePart, StatementCheck } from "../api/types";

type State = StatementCheck["state"];

export const STATES: Record<State, { title: string; tone: "ok" | "limit" | "warning" | "muted" | "global" }> =
  {
    verified: { title: "Verified by this hub", tone: "ok" },
    incomplete: { title: "Verified in part", tone: "warning" },
    failed: { title: "The check failed: do not rely on this statement", tone: "limit" },
    checking: { title: "Being checked", tone: "global" },
    unchecked: { title: "Not checked here", tone: "warning" },
    none: { title: "No privacy statement", tone: "muted" },
  };

export const MECHANISMS: Record<string, string> = {
  centre: "Centring",
  train: "Training",
  evaluate: "Evaluation",
};

/** What an auditor types: every site by name, so that one that was left out is noticed. */
export function verifyCommand(
  sites: readonly string[],
  planned: number,
  unsigned: readonly string[],
): string {
  const keys = sites.map((site) => `--site-key ${site}=${site}.pem`);
  for (let missing = sites.length; missing < planned; missing += 1) keys.push("--site-key SITE=SITE.pem");
  const parts = [
    "fedpriv verify statement.json --model model.safetensors --hub-key hub.pem",
    ...keys,
    ...unsigned.map((site) => `--unsigned ${site}`),
  ];
  return parts.join(" \\\n  ");
}

/** Larger of two epsilons that protect disjoint records: training and held-out ones. */
export function guaranteed(part: SitePart, of: "run" | "lifetime"): number {
  const { epsilon } = part;
  return of === "run"
    ? Math.max(epsilon.run.add_remove, epsilon.held_out_run.add_remove)
    : Math.max(epsilon.lifetime.add_remove, epsilon.held_out_lifetime.add_remove);
}
