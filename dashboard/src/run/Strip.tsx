import type { RunDetail, RunPrivacy } from "../api/types";
import { NOT_APPLICABLE, accuracy, delta, limit, milliseconds, spent } from "../format/numbers";

/** The five answers first. */
export function Strip({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  const worstRun = Math.max(0, ...privacy.sites.map((site) => site.epsilon_run.at(-1) ?? 0));
  const known = privacy.sites.filter((site) => site.epsilon_limit !== null);
  const used = (site: (typeof known)[number]): number =>
    (site.epsilon_spent.at(-1) ?? 0) / (site.epsilon_limit ?? Infinity);
  const worst = known.reduce<(typeof known)[number] | undefined>(
    (most, site) => (most && used(most) >= used(site) ? most : site),
    undefined,
  );
  const runsLeft = privacy.sites.flatMap((site) => (site.runs_left === null ? [] : [site.runs_left]));
  return (
    <dl className="card strip">
      <div>
        <dt>Global accuracy</dt>
        <dd>{run.accuracy === null ? NOT_APPLICABLE : accuracy(run.accuracy)}</dd>
        <dd className="note">
          {run.accuracy_interval
            ? `95 % interval ${accuracy(run.accuracy_interval[0])} to ${accuracy(run.accuracy_interval[1])}`
            : "not released: would cost privacy"}
        </dd>
      </div>
      <div>
        <dt>Privacy of this run</dt>
        <dd>
          ε {spent(worstRun)} <small>of {limit(run.epsilon_target)}</small>
        </dd>
        <dd className="note">δ {delta(run.delta)}, each record, add or remove</dd>
      </div>
      <div>
        <dt>Privacy spent, worst site</dt>
        <dd>
          {worst ? `ε ${spent(worst.epsilon_spent.at(-1) ?? 0)}` : NOT_APPLICABLE}{" "}
          {worst?.epsilon_limit != null && <small>of {limit(worst.epsilon_limit)}</small>}
        </dd>
        <dd className="note">
          {worst ? `${worst.site}, over its whole life` : "no site has answered yet"}
          {runsLeft.length > 0 && `; ${Math.min(...runsLeft)} more such runs`}
        </dd>
      </div>
      <div>
        <dt>Round</dt>
        <dd>
          {run.round} <small>of {run.rounds}</small>
        </dd>
        <dd className="note">
          {run.median_round_ms === null ? "waiting" : `${milliseconds(run.median_round_ms)} each`}
        </dd>
      </div>
      <div>
        <dt>Sites in this round</dt>
        <dd>
          {run.sites_received.length} <small>of {run.sites}</small>
        </dd>
        <dd className="note">
          {run.sites_received.length < run.sites_expected.length
            ? `${run.sites_expected.filter((site) => !run.sites_received.includes(site)).join(", ")} missing`
            : "all that were expected"}
        </dd>
      </div>
    </dl>
  );
}
