import type { RunSummary } from "../api/types";
import * as format from "../format/numbers";
import { RunMark } from "../frame/run-mark";
import { NEAR_LIMIT } from "../run/budget";
import { STATE_WORDS } from "../run/words";

/** A run's state as a shape and a word. */
export function StateFigure({ run }: { run: RunSummary }) {
  return (
    <span className="run-state">
      <RunMark state={run.state} />
      {STATE_WORDS[run.state]}
    </span>
  );
}

/** Accuracy with its interval; of held-out records where there is no public set, and then it says so. */
export function AccuracyFigure({ run, publicSet }: { run: RunSummary; publicSet?: boolean }) {
  const heldOut = run.held_out_accuracy;
  if (run.accuracy !== null) {
    return (
      <>
        {format.accuracy(run.accuracy)}
        {run.accuracy_interval && (
          <small className="under">{format.percentRange(...run.accuracy_interval)}</small>
        )}
      </>
    );
  }
  if (heldOut?.value != null) {
    return (
      <>
        {format.accuracy(heldOut.value)}
        <small className="under">held-out, {format.percentRange(heldOut.low, heldOut.high)}</small>
      </>
    );
  }
  if (publicSet === false || (publicSet === undefined && run.round > 0)) {
    return <small className="under">{format.NOT_RELEASED}</small>;
  }
  return format.NOT_APPLICABLE;
}

export function EpsilonFigure({ run }: { run: RunSummary }) {
  return (
    <>
      {run.epsilon_run === null ? format.NOT_APPLICABLE : format.spent(run.epsilon_run)}
      <span className="of"> / {format.limit(run.epsilon_target)}</span>
    </>
  );
}

/** How much of its lifetime the site closest to its limit has used. */
export function LifetimeFigure({ run }: { run: RunSummary }) {
  const budget = run.closest_budget;
  if (!budget) return format.NOT_APPLICABLE;
  return (
    <>
      <span className={budget.share >= NEAR_LIMIT ? "attention" : undefined}>
        {format.share(budget.epsilon_spent, budget.epsilon_limit)}
      </span>
      <small className="under">{budget.site}</small>
    </>
  );
}
