import type { Account } from "../api/types";
import * as format from "../format/numbers";
import { firstToLimit, closestToLimit, listed, NEAR_LIMIT } from "../run/budget";
import { Cell } from "../run/strip";
import { toldOf } from "./figures";

/** Is a budget close to its end, how long can it go on, who declined, what is not listed here. */
export function LedgerStrip({ accounts }: { accounts: readonly Account[] }) {
  return (
    <dl className="card strip ledger-strip">
      <ClosestCell accounts={accounts} />
      <RunsLeftCell accounts={accounts} />
      {accounts.length > 1 ? <StandingCell accounts={accounts} /> : <RemainingCell accounts={accounts} />}
      <RunsCell accounts={accounts} />
      <UnlistedCell accounts={accounts} />
    </dl>
  );
}

function ClosestCell({ accounts }: { accounts: readonly Account[] }) {
  const closest = closestToLimit(accounts.flatMap((account) => toldOf(account) ?? []));
  const name = accounts.length > 1 ? "Closest to its limit" : "Spent over its whole life";
  if (!closest) {
    return <Cell name={name} value={format.NOT_APPLICABLE} note="No site has told its budget yet" />;
  }
  const account = accounts.find(({ site }) => site === closest.site);
  return (
    <Cell
      name={name}
      value={`ε ${format.spent(closest.spent)}`}
      of={`of ${format.limit(closest.limit)}`}
      note={`${format.share(closest.spent, closest.limit)} of the limit of ${closest.site}`}
      second={account?.delta ? `δ ${format.delta(account.delta)} per ${account.unit ?? "record"}` : undefined}
      attention={closest.spent / closest.limit >= NEAR_LIMIT}
    />
  );
}

function RunsLeftCell({ accounts }: { accounts: readonly Account[] }) {
  const told = accounts.flatMap((account) => toldOf(account) ?? []);
  const first = firstToLimit(told);
  const name = accounts.length > 1 ? "Runs left until first limit" : "Runs left";
  const second = "like the newest one";
  if (!first) {
    const note = told.length > 0 ? "Being counted" : "Known when a site has joined a run";
    return <Cell name={name} value={format.NOT_APPLICABLE} note={note} second={second} />;
  }
  return (
    <Cell
      name={name}
      value={first.runsLeft}
      note={first.runsLeft === 0 ? `None fits at ${first.site}` : `Fewest at ${first.site}`}
      second={second}
      attention={first.runsLeft === 0}
    />
  );
}

function RemainingCell({ accounts }: { accounts: readonly Account[] }) {
  const told = accounts[0] && toldOf(accounts[0]);
  if (!told) {
    return <Cell name="Remaining" value={format.NOT_APPLICABLE} note="Known when it has joined a run" />;
  }
  const active = told.planned > told.spent;
  return (
    <Cell
      name="Remaining"
      value={`ε ${format.remaining(told.limit - told.spent)}`}
      note={
        active
          ? `ε ${format.remaining(told.limit - told.planned)} when the active run has ended`
          : "No active run holds any of it"
      }
      second={accounts[0]?.delta ? `at δ ${format.delta(accounts[0].delta)}` : undefined}
    />
  );
}

function StandingCell({ accounts }: { accounts: readonly Account[] }) {
  const of = (...statuses: Account["status"][]) => accounts.filter(({ status }) => statuses.includes(status));
  const trouble = of("at_limit", "refused");
  const near = of("near_limit");
  return (
    <Cell
      name="Budgets within their limit"
      value={of("within_budget", "near_limit").length}
      of={`of ${accounts.length}`}
      note={
        trouble.length > 0
          ? trouble.length === 1
            ? `${trouble[0]?.site ?? ""} declined or is at its limit`
            : `${trouble.length} declined or are at their limit`
          : near.length > 0
            ? `${listed(near.map(({ site }) => site))} ${near.length === 1 ? "is" : "are"} near`
            : "None is near its limit"
      }
      second="each site sets its own"
      attention={trouble.length + near.length > 0}
    />
  );
}

function RunsCell({ accounts }: { accounts: readonly Account[] }) {
  const runs = new Set(accounts.flatMap(({ history }) => history.run_ids)).size;
  const sampled = accounts.some(({ history }) => history.sampled);
  const joined = Math.max(0, ...accounts.map((account) => account.runs));
  const declined = accounts.reduce((sum, account) => sum + account.declined, 0);
  return (
    <Cell
      name="Runs that were joined"
      value={sampled ? joined : runs}
      note={declined === 0 ? "None was declined" : `${format.plural(declined, "time")} declined, at no cost`}
      second={
        accounts.length > 1
          ? `of ${format.plural(new Set(accounts.map(({ site }) => site)).size, "site")}`
          : "of this hub"
      }
    />
  );
}

function UnlistedCell({ accounts }: { accounts: readonly Account[] }) {
  const before = accounts.filter((account) => (account.epsilon_before ?? 0) > 0);
  const steps = accounts.filter((account) => account.unlisted > 0);
  const most = before.toSorted((a, b) => (b.epsilon_before ?? 0) - (a.epsilon_before ?? 0))[0];
  const joined = accounts.some((account) => account.runs > 0);
  const history = most
    ? `${most.site}, before its first run`
    : joined
      ? "Nothing before the first run here"
      : "Known when a site has joined";
  const between = `More between runs at ${listed(steps.map(({ site }) => site))}`;
  return (
    <Cell
      name="Spent, but not listed here"
      value={most ? `ε ${format.spent(most.epsilon_before ?? 0)}` : format.NOT_APPLICABLE}
      note={steps.length > 0 && !most ? between : history}
      second={
        steps.length > 0 ? (most ? between : undefined) : joined ? "and nothing between runs" : undefined
      }
      attention={steps.length > 0 && !most}
    />
  );
}
