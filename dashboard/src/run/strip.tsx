import type { ReactNode } from "react";

import type { RunDetail, RunPrivacy } from "../api/types";
import * as format from "../format/numbers";
import { budgetsOf, closestToLimit, firstToLimit, listed, NEAR_LIMIT, runEpsilon } from "./budget";

interface CellProps {
  name: string;
  value: ReactNode;
  of?: ReactNode;
  note: ReactNode;
  second?: ReactNode;
  attention?: boolean;
  progress?: number;
}

/** One figure of a strip, with what qualifies it. */
export function Cell({ name, value, of, note, second, attention = false, progress }: CellProps) {
  return (
    <div className="cell">
      <dt>{name}</dt>
      <dd>
        <p className="cell-value">
          {value}
          {of !== undefined && <span className="cell-of"> {of}</span>}
        </p>
        <p className={attention ? "note attention" : "note"}>{note}</p>
        {second !== undefined && <p className="note">{second}</p>}
      </dd>
      {progress !== undefined && (
        <span className="cell-progress" aria-hidden="true">
          <span style={{ inlineSize: `${100 * progress}%` }} />
        </span>
      )}
    </div>
  );
}

/** The answers to what a reader asks first: is privacy safe, does it learn, how long can it go on, who is in trouble. */
export function Strip({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  return (
    <dl className="card strip">
      <AccuracyCell run={run} />
      <PrivacyCell run={run} privacy={privacy} />
      <RunsLeftCell privacy={privacy} />
      <RoundCell run={run} />
      <SitesCell run={run} privacy={privacy} />
    </dl>
  );
}

function AccuracyCell({ run }: { run: RunDetail }) {
  const interval = run.accuracy_interval;
  const set = run.public_validation;
  if (run.accuracy === null) {
    return (
      <Cell
        name="Global accuracy"
        value={format.NOT_APPLICABLE}
        note={set ? "Known after the first round" : format.NOT_RELEASED}
        second={set ? `on ${set.size} public records` : "no public validation set"}
      />
    );
  }
  return (
    <Cell
      name="Global accuracy"
      value={format.accuracy(run.accuracy)}
      note={
        interval ? `95 % interval ${format.percentRange(interval[0], interval[1])}` : "Interval not known"
      }
      second={set ? `on ${set.size} public records` : undefined}
    />
  );
}

function PrivacyCell({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  const epsilon = runEpsilon(privacy);
  const worst = closestToLimit(budgetsOf(privacy));
  return (
    <Cell
      name="Privacy of this run"
      value={epsilon === null ? format.NOT_APPLICABLE : `ε ${format.spent(epsilon)}`}
      of={`of ${format.limit(run.epsilon_target)}`}
      note={
        worst
          ? `Lifetime ε ${format.spent(worst.spent)} of ${format.limit(worst.limit)}`
          : "Known when a site has joined"
      }
      second={`${worst ? `${worst.site}, ` : ""}δ ${format.delta(run.delta)} per record`}
      attention={worst !== null && worst.spent / worst.limit >= NEAR_LIMIT}
    />
  );
}

function RunsLeftCell({ privacy }: { privacy: RunPrivacy }) {
  const budgets = budgetsOf(privacy);
  const first = firstToLimit(budgets);
  const name = "Runs left until first limit";
  if (!first) {
    const note = budgets.length > 0 ? "Being counted" : "Known when a site has joined";
    return <Cell name={name} value={format.NOT_APPLICABLE} note={note} second="of the same plan" />;
  }
  return (
    <Cell
      name={name}
      value={first.runsLeft}
      note={first.runsLeft === 0 ? `None fits at ${first.site}` : `Fewest at ${first.site}, same plan`}
      second={`ε ${format.remaining(first.limit - first.spent)} remaining there`}
      attention={first.runsLeft === 0}
    />
  );
}

function RoundCell({ run }: { run: RunDetail }) {
  return (
    <Cell
      name="Round"
      value={run.round}
      of={`of ${run.rounds}`}
      note={
        run.median_round_ms === null
          ? "No round closed yet"
          : `${format.milliseconds(run.median_round_ms)} each`
      }
      second={run.duration_s === null ? undefined : `${format.seconds(run.duration_s)} in all`}
      progress={run.rounds > 0 ? run.round / run.rounds : 0}
    />
  );
}

/** Whom a run that has not begun waits for; a person's approval takes hours, and is told apart. */
function waitingWords(run: RunDetail): string {
  const approval = run.waiting.filter((site) => site.awaiting_approval).map((site) => site.site);
  return approval.length > 0
    ? `${listed(approval)} ${approval.length === 1 ? "waits" : "wait"} for approval there`
    : `Waiting for ${listed(run.waiting.map((site) => site.site))}`;
}

function SitesCell({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  const expected = run.sites_expected.length || run.sites;
  const received = run.sites_received.length;
  const missing = run.sites_expected.filter((site) => !run.sites_received.includes(site));
  const declined = privacy.sites.filter((site) => site.status === "refused").map((site) => site.site);
  const joined = privacy.sites.filter(
    (site) => site.status !== "waiting" && site.status !== "refused",
  ).length;
  const begun = run.sites_expected.length > 0;
  return (
    <Cell
      name={begun ? "Sites in this round" : "Sites joined"}
      value={begun ? received : joined}
      of={`of ${expected}`}
      note={
        declined.length > 0
          ? `${listed(declined)} declined`
          : missing.length > 0
            ? `No answer from ${listed(missing)}`
            : begun
              ? "All answered"
              : run.waiting.length > 0
                ? waitingWords(run)
                : joined < expected
                  ? "Waiting for the others"
                  : "All have joined"
      }
      second={`${run.sites} planned`}
      attention={declined.length > 0 || missing.length > 0}
    />
  );
}
