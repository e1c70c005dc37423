import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";

import { readinessQuery, runQuery, runsQuery } from "./api/queries";
import { useLive } from "./api/use-live";
import { useView } from "./api/view";
import { LiveLine } from "./frame/live-line";
import { Rail } from "./frame/rail";
import { RunPicker } from "./frame/run-picker";
import { ThemeButton } from "./frame/theme-button";
import { RunView } from "./run/run-view";
import { NoRuns, ReadFailed } from "./states/message";
import { Skeleton } from "./states/skeleton";

export function App() {
  const view = useView();
  const list = useQuery(runsQuery());
  const runs = list.data?.runs ?? [];
  const runId = view.run ?? runs[0]?.run_id ?? null;
  const detail = useQuery({ ...runQuery(runId ?? ""), enabled: runId !== null });
  const shown = detail.data ?? runs.find((run) => run.run_id === runId) ?? null;
  const live = useLive(shown?.state === "active" ? shown.run_id : null);
  const readiness = useQuery(readinessQuery());

  useEffect(() => {
    document.title = shown ? `${shown.name} · fedpriv` : "fedpriv";
  }, [shown]);

  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to the run
      </a>
      <Rail runs={runs} shown={runId} />
      <header className="bar">
        {shown ? (
          <RunPicker runs={runs} shown={shown} view={view} />
        ) : (
          <p className="bar-title">
            {list.isPending ? <span className="bone picker-bone" /> : "Training runs"}
          </p>
        )}
        {shown && <LiveLine live={live} run={shown} />}
        <ThemeButton />
      </header>
      <main id="content" tabIndex={-1}>
        <h1 className="sr-only">{shown ? `Training run ${shown.name}` : "Training runs"}</h1>
        {runId ? (
          <RunView
            key={runId}
            runId={runId}
            view={view}
            live={live}
            storageSince={readiness.data?.status === "stale" ? readiness.data.read_at : null}
          />
        ) : list.isPending ? (
          <Skeleton />
        ) : list.error && !list.data ? (
          <ReadFailed error={list.error} onRetry={live.retry} />
        ) : (
          <NoRuns />
        )}
      </main>
    </div>
  );
}
