import * as format from "../format/numbers";
import { NEAR_LIMIT, type Budget } from "./budget";

/** A site's lifetime budget: solid is spent, hatched is planned, the notch marks where it is nearly spent. */
export function Meter({ budget }: { budget: Budget }) {
  const { spent, planned, limit, site } = budget;
  const width = (epsilon: number) => `${Math.min(100, (100 * epsilon) / limit)}%`;
  const level = spent >= limit ? "full" : spent / limit >= NEAR_LIMIT ? "near" : "fine";
  const more = planned > spent ? `, ${format.spent(planned)} when the run has ended as planned` : "";
  return (
    <div
      className={`meter ${level}`}
      role="meter"
      aria-label={`Lifetime budget of ${site}`}
      aria-valuemin={0}
      aria-valuemax={limit}
      aria-valuenow={Math.min(spent, limit)}
      aria-valuetext={`ε ${format.spent(spent)} of ${format.limit(limit)} spent, ${format.share(spent, limit)}${more}`}
    >
      <span className="meter-planned" style={{ inlineSize: width(planned) }} />
      <span className="meter-spent" style={{ inlineSize: width(spent) }} />
      <span className="meter-notch" style={{ insetInlineStart: `${100 * NEAR_LIMIT}%` }} />
    </div>
  );
}
