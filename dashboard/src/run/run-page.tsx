import { useQuery } from "@tanstack/react-query";

import { runsQuery } from "../api/queries";
import type { PageProps } from "../pages";
import { NoRuns, ReadFailed } from "../states/message";
import { Skeleton } from "../states/skeleton";
import { RunView } from "./run-view";

/** The run that the address names, or the newest one. */
export function RunPage({ view, live, storageSince }: PageProps) {
  const list = useQuery(runsQuery());
  const runId = view.query.run ?? list.data?.runs[0]?.run_id ?? null;
  if (runId !== null) {
    return <RunView key={runId} runId={runId} view={view} live={live} storageSince={storageSince} />;
  }
  if (list.isPending) return <Skeleton />;
  if (list.error && !list.data) return <ReadFailed error={list.error} onRetry={live.retry} />;
  return <NoRuns />;
}
