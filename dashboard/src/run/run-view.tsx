import { useQuery } from "@tanstack/react-query";

import { logQuery, metricQuery, privacyQuery, runQuery } from "../api/queries";
import type { Live } from "../api/use-live";
import { to, type View } from "../api/view";
import { Banner } from "../states/banner";
import { ReadFailed } from "../states/message";
import { Skeleton } from "../states/skeleton";
import { StaleBanner } from "../states/stale";
import { ViewLink } from "../ui/view-link";
import { Events } from "./events";
import { PrivacyFacts } from "./facts";
import { AccuracyChart, LossChart } from "./learning-charts";
import { LifetimeChart, RunPrivacyChart } from "./privacy-charts";
import { RunFrontier } from "./run-frontier";
import { SitesTable } from "./sites-table";
import { SkippedNotice } from "./skipped";
import { Strip } from "./strip";
import { endWords } from "./words";

interface RunViewProps {
  runId: string;
  view: View;
  live: Live;
  storageSince: string | null;
}

/** One training run. */
export function RunView({ runId, view, live, storageSince }: RunViewProps) {
  const run = useQuery(runQuery(runId));
  const accuracy = useQuery(metricQuery(runId, "accuracy"));
  const loss = useQuery(metricQuery(runId, "loss"));
  const privacy = useQuery(privacyQuery(runId));
  const log = useQuery(logQuery(runId));
  const failed = [run, accuracy, loss, privacy, log].find((query) => query.error)?.error ?? null;

  if (!run.data || !accuracy.data || !loss.data || !privacy.data || !log.data) {
    return failed ? <ReadFailed error={failed} onRetry={live.retry} /> : <Skeleton />;
  }
  const end = endWords(run.data);
  return (
    <div className="run">
      <StaleBanner live={live} storageSince={storageSince} failure={failed?.message ?? null} />
      {end && (
        <Banner
          kind={end.problem ? "problem" : "info"}
          title={end.title}
          action={
            run.data.cause === "budget" && (
              <ViewLink className="button small" view={to("ledger", { dataset: run.data.dataset })}>
                Show the ledger
              </ViewLink>
            )
          }
        >
          {end.text}
        </Banner>
      )}
      <SkippedNotice skipped={run.data.skipped} />
      <Strip run={run.data} privacy={privacy.data} />
      <div className="charts">
        <AccuracyChart run={run.data} metric={accuracy.data} />
        <LossChart run={run.data} metric={loss.data} />
        <LifetimeChart run={run.data} privacy={privacy.data} site={view.query.site ?? null} />
        <RunPrivacyChart run={run.data} privacy={privacy.data} site={view.query.site ?? null} />
        <RunFrontier run={run.data} accuracy={accuracy.data} privacy={privacy.data} view={view} />
      </div>
      <div className="details">
        <SitesTable run={run.data} privacy={privacy.data} view={view} />
        <Events log={log.data} key={runId} />
        <PrivacyFacts run={run.data} privacy={privacy.data} />
      </div>
    </div>
  );
}
