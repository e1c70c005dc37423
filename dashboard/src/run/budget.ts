/** What a run's privacy comes to, over its sites. Pure: the answers of the API in, figures out. */
import type { RunPrivacy, SitePrivacy } from "../api/types";

/** From this share of its limit on a site's budget is called nearly spent; the API's status agrees. */
export const NEAR_LIMIT = 0.8;

/** A site's lifetime figures, once it has said them. */
export interface Budget {
  site: string;
  limit: number;
  spent: number;
  planned: number;
  runsLeft: number | null;
}

/** The lifetime budget of a site; null until its first release or admission says so. */
export function budgetOf(site: SitePrivacy): Budget | null {
  const spent = site.epsilon_spent.at(-1);
  if (site.epsilon_limit === null || spent === undefined) return null;
  return {
    site: site.site,
    limit: site.epsilon_limit,
    spent,
    planned: Math.max(spent, site.epsilon_planned ?? spent),
    runsLeft: site.runs_left,
  };
}

export function budgetsOf(privacy: RunPrivacy): Budget[] {
  return privacy.sites.flatMap((site) => budgetOf(site) ?? []);
}

/** The site that has used the largest share of its own limit. */
export function closestToLimit(budgets: readonly Budget[]): Budget | null {
  return budgets.reduce<Budget | null>(
    (worst, budget) => (worst && worst.spent / worst.limit >= budget.spent / budget.limit ? worst : budget),
    null,
  );
}

/** The site at which the fewest further runs fit; null unless all sites are known. */
export function firstToLimit(budgets: readonly Budget[]): (Budget & { runsLeft: number }) | null {
  let first: (Budget & { runsLeft: number }) | null = null;
  for (const budget of budgets) {
    if (budget.runsLeft === null) return null;
    if (!first || budget.runsLeft < first.runsLeft) first = { ...budget, runsLeft: budget.runsLeft };
  }
  return first;
}

/** Epsilon of this run at the site where it is largest; null before any release. */
export function runEpsilon(privacy: RunPrivacy): number | null {
  const last = privacy.sites.flatMap((site) => site.epsilon_run.at(-1) ?? []);
  return last.length > 0 ? Math.max(...last) : null;
}

/** Sites in the order of a table: largest share of the limit first, then those that have said nothing, by name. */
export function byShare(sites: readonly SitePrivacy[]): SitePrivacy[] {
  const share = (site: SitePrivacy) => {
    const budget = budgetOf(site);
    return budget ? budget.spent / budget.limit : -1;
  };
  return sites.toSorted(
    (a, b) => share(b) - share(a) || a.site.localeCompare(b.site, "en", { numeric: true }),
  );
}

/** "site-1", "site-1 and site-2", "site-1, site-2 and 3 more". */
export function listed(names: readonly string[], most = 2): string {
  const [first = "", second = ""] = names;
  if (names.length <= 1) return first;
  if (names.length === 2) return `${first} and ${second}`;
  const shown = names.length === most + 1 ? names.slice(0, -1) : names.slice(0, most);
  const rest = names.length - shown.length;
  return `${shown.join(", ")} and ${rest === 1 ? (names.at(-1) ?? "") : `${rest} more`}`;
}
