/** What the accounts come to together. Pure: the API's answers in, figures out; no epsilon is ever added up. */
import type { Account } from "../api/types";
import type { Budget } from "../run/budget";

/** An account that has told its figures. */
export interface Told extends Budget {
  account: Account;
}

/** The account's figures for a meter; null until the site has told any. */
export function toldOf(account: Account): Told | null {
  const { epsilon_limit: limit, epsilon_spent: spent } = account;
  if (limit === null || spent === null) return null;
  const planned = Math.max(spent, account.epsilon_planned ?? spent);
  return { site: account.site, limit, spent, planned, runsLeft: account.runs_left, account };
}

/** One account in words: its site, and its data set where there are several. */
export function accountName(account: Account, several: boolean): string {
  return several ? `${account.site}, ${account.dataset}` : account.site;
}

export function accountKey(account: { site: string; dataset: string }): string {
  return `${account.site}/${account.dataset}`;
}

/** Largest share of the limit first, then those that have told nothing, by name. */
export function byShare(accounts: readonly Account[]): Account[] {
  const share = (account: Account) => {
    const told = toldOf(account);
    return told ? told.spent / told.limit : -1;
  };
  return accounts.toSorted(
    (a, b) =>
      share(b) - share(a) ||
      a.site.localeCompare(b.site, "en", { numeric: true }) ||
      a.dataset.localeCompare(b.dataset, "en", { numeric: true }),
  );
}

export function datasetsOf(accounts: readonly Account[]): string[] {
  return [...new Set(accounts.map(({ dataset }) => dataset))].sort((a, b) =>
    a.localeCompare(b, "en", { numeric: true }),
  );
}

/** Runs that at least one account joined, oldest first: ids sort by the time that they were made. */
export function runsOf(accounts: readonly Account[]): string[] {
  return [...new Set(accounts.flatMap(({ history }) => history.run_ids))].sort();
}

/** The account whose runs show best what composition does: the one with the most of them; null below two. */
export function example(
  accounts: readonly Account[],
): { account: Account; runs: number; each: number[]; together: number } | null {
  const whole = accounts.filter(
    ({ history, unlisted, epsilon_before: before }) => !history.sampled && unlisted === 0 && before === 0,
  );
  const [account] = whole.toSorted((a, b) => b.history.run_ids.length - a.history.run_ids.length);
  const together = account?.history.epsilon_after.at(-1);
  if (!account || together === undefined || account.history.run_ids.length < 2) return null;
  return { account, runs: account.history.run_ids.length, each: account.history.epsilon_run, together };
}

/** Milliseconds since 1970 in a run's id: its first ten characters (ULID, Crockford's base 32). */
export function timeOfRun(runId: string): number {
  let time = 0;
  for (const letter of runId.slice(0, 10))
    time = 32 * time + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(letter);
  return time;
}
