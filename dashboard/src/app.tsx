import { useQuery } from "@tanstack/react-query";
import { Suspense, useEffect } from "react";

import { readinessQuery, runQuery, runsQuery } from "./api/queries";
import { useLive } from "./api/use-live";
import { useView } from "./api/view";
import { LiveLine } from "./frame/live-line";
import { Rail } from "./frame/rail";
import { RunPicker } from "./frame/run-picker";
import { ThemeButton } from "./frame/theme-button";
import { PAGES } from "./pages";
import { ExportMenu } from "./run/export-menu";
import { NoSuchPage } from "./states/message";

export function App() {
  const view = useView();
  const entry = PAGES.find(({ page }) => page === view.page) ?? null;
  const list = useQuery(runsQuery());
  const runs = list.data?.runs ?? [];
  // Pages about one run are followed by that run's own stream, the others by the one that tells of all runs.
  const ofRun = entry?.page === "run" || entry?.page === "statement";
  const runId = ofRun ? (view.query.run ?? runs[0]?.run_id ?? null) : null;
  const detail = useQuery({ ...runQuery(runId ?? ""), enabled: runId !== null });
  const shown = detail.data ?? runs.find((run) => run.run_id === runId) ?? null;
  const live = useLive(shown?.state === "active" ? shown.run_id : null);
  const readiness = useQuery(readinessQuery());
  const title = shown?.name ?? (ofRun ? null : entry?.name);

  useEffect(() => {
    document.title = title ? `${title} · fedpriv` : "fedpriv";
  }, [title]);

  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <Rail runs={runs} view={view} shown={runId} />
      <header className="bar">
        {shown && entry ? (
          <RunPicker runs={runs} shown={shown} page={entry.page} follows={view.query.run === undefined} />
        ) : (
          <p className="bar-title">
            {ofRun && list.isPending ? <span className="bone picker-bone" /> : (entry?.name ?? "fedpriv")}
          </p>
        )}
        {(shown ?? !ofRun) && <LiveLine live={live} run={shown} />}
        {shown && entry?.page === "run" && <ExportMenu run={shown} site={view.query.site ?? null} />}
        <ThemeButton />
      </header>
      <main id="content" tabIndex={-1}>
        {entry?.page === "run" && (
          <h1 className="sr-only">{shown ? `Training run ${shown.name}` : "Training run"}</h1>
        )}
        {entry?.page === "statement" && !shown && <h1 className="sr-only">Privacy statement</h1>}
        {!entry && <h1 className="sr-only">No page of the dashboard</h1>}
        {entry ? (
          <Suspense fallback={<div className="view-coming" aria-busy="true" />}>
            <entry.View
              view={view}
              live={live}
              storageSince={readiness.data?.status === "stale" ? readiness.data.read_at : null}
            />
          </Suspense>
        ) : (
          <NoSuchPage />
        )}
      </main>
    </div>
  );
}
