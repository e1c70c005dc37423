/** What the page reads, and the stream that tells when to read it again. */
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { API, get } from "./client";
import { LiveConnection, type LiveState } from "./live";
import { Refresher } from "./refresher";
import type { MetricSeries, RunDetail, RunLog, RunPage, RunPrivacy } from "./types";

export function useRuns() {
  return useQuery({
    queryKey: ["runs"],
    queryFn: ({ signal }) => get<RunPage>("/runs?limit=50", signal),
    // Without any run there is no stream to listen to yet.
    refetchInterval: (query) => (query.state.data?.runs.length ? 10_000 : 2_000),
  });
}

function useOfRun<T>(runId: string, name: string, path: string) {
  return useQuery({
    queryKey: ["run", runId, name],
    queryFn: ({ signal }) => get<T>(`/runs/${runId}${path}`, signal),
    placeholderData: keepPreviousData,
  });
}

export const useRun = (runId: string) => useOfRun<RunDetail>(runId, "detail", "");
export const useMetric = (runId: string, name: string) =>
  useOfRun<MetricSeries>(runId, name, `/metrics/${name}?points=1000`);
export const usePrivacy = (runId: string) => useOfRun<RunPrivacy>(runId, "privacy", "/privacy");
export const useLog = (runId: string) => useOfRun<RunLog>(runId, "log", "/log");

/** Follow a run's events and read what they announce; returns the state of the connection and the last news. */
export function useLive(runId: string): { state: LiveState; updatedAt: number; retry: () => void } {
  const queries = useQueryClient();
  const [state, setState] = useState<LiveState>({ phase: "connecting" });
  const [updatedAt, setUpdatedAt] = useState(() => Date.now());
  const connection = useRef<LiveConnection | null>(null);
  useEffect(() => {
    const refresher = new Refresher(async () => {
      await Promise.all([
        queries.invalidateQueries({ queryKey: ["run", runId] }),
        queries.invalidateQueries({ queryKey: ["runs"] }),
      ]);
      setUpdatedAt(Date.now());
    });
    const news = (): void => {
      refresher.request();
    };
    const live = new LiveConnection({
      url: `${API}/runs/${runId}/events`,
      onEvent: news,
      onGap: news,
      onState: setState,
    });
    connection.current = live;
    live.open();
    return () => {
      live.close();
      refresher.stop();
    };
  }, [queries, runId]);
  return { state, updatedAt, retry: () => connection.current?.retry() };
}
