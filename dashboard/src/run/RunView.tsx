import { useEffect, useState } from "react";
import { createPortal } from "react-dom";

import type { LiveState } from "../api/live";
import { useLive, useLog, useMetric, usePrivacy, useRun } from "../api/queries";
import type { MetricSeries, RunDetail, RunPrivacy } from "../api/types";
import { LineChart, type Line } from "../charts/LineChart";
import { accuracy, delta, limit, loss, share, spent } from "../format/numbers";
import { ago, utcTime } from "../format/time";
import { Failed, Skeleton } from "../states/States";
import { Events } from "./Events";
import { Facts } from "./Facts";
import { Sites } from "./Sites";
import { Strip } from "./Strip";

/** One run: is privacy safe, is it learning, how long can it go on, is a site in trouble. */
export function RunView({ runId }: { runId: string }) {
  const run = useRun(runId);
  const privacy = usePrivacy(runId);
  const learned = useMetric(runId, "accuracy");
  const losses = useMetric(runId, "loss");
  const log = useLog(runId);
  const live = useLive(runId);

  if (run.isError && !run.data) return <Failed error={run.error} onRetry={() => void run.refetch()} />;
  if (!run.data || !privacy.data) return <Skeleton />;
  const last = Math.max(run.data.rounds, 1);
  return (
    <>
      <LiveLine state={live.state} updatedAt={live.updatedAt} run={run.data} onRetry={live.retry} />
      <Ending run={run.data} />
      <Strip run={run.data} privacy={privacy.data} />
      <div className="grid">
        <LineChart
          title="Accuracy"
          subtitle={publicly(run.data)}
          lines={globalLine(learned.data)}
          lastRound={last}
          domain={[0.5, 1]}
          format={accuracy}
        />
        <LineChart
          title="Loss"
          subtitle={`Cross-entropy. ${publicly(run.data)}`}
          lines={globalLine(losses.data)}
          lastRound={last}
          domain={[0, Math.max(0.7, ...(losses.data?.series[0]?.values.map((value) => value ?? 0) ?? []))]}
          format={loss}
        />
        <LineChart
          title="Privacy budget used"
          subtitle="Every release ever charged to a site's table, as share of the site's own limit"
          lines={siteLines(privacy.data, (site) =>
            site.epsilon_limit === null
              ? null
              : site.epsilon_spent.map((each) => each / (site.epsilon_limit ?? 1)),
          )}
          lastRound={last}
          domain={[0, 1.1]}
          format={(value) => share(value, 1)}
          limit={{ value: 1, name: "Hard limit: the site refuses" }}
        />
        <LineChart
          title="Privacy cost of this run"
          subtitle={`ε after each round, at δ ${delta(run.data.delta)}`}
          lines={siteLines(privacy.data, (site) => site.epsilon_run)}
          lastRound={last}
          domain={[0, run.data.epsilon_target * 1.1]}
          format={spent}
          limit={{ value: run.data.epsilon_target, name: `Target ε ${limit(run.data.epsilon_target)}` }}
        />
      </div>
      <div className="grid wide-left">
        <Sites privacy={privacy.data} />
        <Events log={log.data} />
      </div>
      <Facts run={run.data} privacy={privacy.data} />
    </>
  );
}

function publicly(run: RunDetail): string {
  const set = run.public_validation;
  return set
    ? `Global model on ${set.size} public records that no site holds`
    : "Not released: would cost privacy";
}

function globalLine(metric: MetricSeries | undefined): Line[] {
  const series = metric?.series.find((each) => each.site === "global");
  return series ? [{ name: "Global", className: "c1", rounds: series.rounds, values: series.values }] : [];
}

type Site = RunPrivacy["sites"][number];

/** One line per site; sites whose values are the same share a line, as they do when they follow one plan. */
function siteLines(privacy: RunPrivacy, values: (site: Site) => number[] | null): Line[] {
  const groups = new Map<string, { sites: string[]; rounds: number[]; values: number[] }>();
  for (const site of privacy.sites) {
    const column = values(site);
    if (!column) continue;
    const key = column.map((value) => value.toFixed(4)).join();
    const group = groups.get(key) ?? { sites: [], rounds: site.rounds, values: column };
    group.sites.push(site.site);
    groups.set(key, group);
  }
  return [...groups.values()].map((group, index) => ({
    name: group.sites.length > 1 ? `${group.sites.length} sites` : (group.sites[0] ?? ""),
    className: index % 2 ? "c2" : "c3",
    rounds: group.rounds,
    values: group.values,
  }));
}

function LiveLine(props: { state: LiveState; updatedAt: number; run: RunDetail; onRetry: () => void }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      setNow(Date.now());
    }, 1000);
    return () => {
      clearInterval(timer);
    };
  }, []);
  const slot = document.getElementById("live-slot");
  const stale = props.state.phase === "waiting";
  const words = { connecting: "Connecting", live: "Live", waiting: "Interrupted", paused: "Paused" }[
    props.state.phase
  ];
  return (
    <>
      {slot &&
        createPortal(
          <>
            <span
              className={`dot ${props.state.phase === "live" ? "active" : "halted"}`}
              aria-hidden="true"
            />
            {words}, updated {ago(now - props.updatedAt)}
          </>,
          slot,
        )}
      {stale && (
        <div className="banner" role="status">
          The connection to the metrics API is interrupted; figures are from{" "}
          {utcTime(new Date(props.updatedAt).toISOString())} UTC. Training goes on.
          <button type="button" className="button small" onClick={props.onRetry}>
            Try now
          </button>
        </div>
      )}
    </>
  );
}

const CAUSES: Record<string, string> = {
  quorum: "too few sites answered before the deadline",
  budget: "a site's privacy budget cannot pay for the run",
  refused: "a site declined the run",
  deadline: "a deadline passed",
  operator: "an operator ended it",
  internal: "of a fault at the server",
};

function Ending({ run }: { run: RunDetail }) {
  if (run.state === "active" || run.state === "finished") return null;
  return (
    <div className="banner problem" role="status">
      The run was {run.state} after {run.round} of {run.rounds} rounds because{" "}
      {CAUSES[run.cause ?? ""] ?? "of an unknown cause"}. The last round's model is kept.
    </div>
  );
}
