/** How budgets and sites stand, as a person reads it. */
import type { Account, AccountStatus, Charge, SiteSummary, Standing } from "../api/types";
import { plural, spent } from "../format/numbers";
import { refusalWords } from "../run/words";

export const ACCOUNT_WORDS: Record<AccountStatus, string> = {
  within_budget: "Within budget",
  near_limit: "Near its limit",
  at_limit: "At its limit",
  refused: "Declined the newest run",
  unknown: "Nothing told yet",
};

export const STANDING_WORDS: Record<Standing, string> = {
  in_run: "In the active run",
  offline: "Offline",
  awaiting_approval: "Waits for approval",
  not_joined: "Not yet joined",
  declined: "Declined the active run",
  idle: "Idle",
  enrolled: "Enrolled, not asked yet",
  revoked: "Off the allow-list",
};

export function accountWords(account: Account): string {
  const words = ACCOUNT_WORDS[account.status];
  return account.status === "refused" && account.code !== null
    ? `Declined: ${refusalWords(account.code)}`
    : words;
}

export function standingWords(site: SiteSummary): string {
  if (site.stock) return "Node without a ledger";
  if (site.standing === "not_joined" && !site.run_active) return "Did not answer";
  const words = STANDING_WORDS[site.standing];
  return site.standing === "declined" && site.code !== null ? `Declined: ${refusalWords(site.code)}` : words;
}

/** What came of a run at a site, and what of that cost nothing. */
export function outcomeWords(charge: Charge): string {
  if (charge.outcome === "declined")
    return `Declined: ${charge.code === null ? "no reason told" : refusalWords(charge.code)}. Nothing charged`;
  if (charge.outcome === "waiting")
    return `${charge.state === "active" ? "Has not answered" : "Never answered"} the plan. Nothing charged`;
  const parts = [
    ...(charge.code === null ? [] : [`then declined: ${refusalWords(charge.code)}`]),
    ...(charge.missed > 0 ? [`${plural(charge.missed, "round")} missed`] : []),
    ...(charge.late > 0 ? [`${plural(charge.late, "late reply", "late replies")}, charged`] : []),
  ];
  return ["Joined", ...parts].join(", ");
}

/** The step before a run that the runs listed here do not explain; null where there is none. */
export function stepWords(charge: Charge): string | null {
  if (!charge.unlisted || charge.epsilon_before === null) return null;
  return `ε\u00a0${spent(charge.epsilon_before)} had been spent when it joined, more than had been told here`;
}
