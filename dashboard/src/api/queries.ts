/** What the page reads, as TanStack queries. The live stream says when to read again (see use-live.ts). */
import { QueryClient, queryOptions } from "@tanstack/react-query";

import { ApiError, get, readiness } from "./client";
import type { Frontiers, Me, MetricSeries, Readiness, RunDetail, RunLog, RunPage, RunPrivacy } from "./types";

const RETRY_MS = 5_000;
const RETRY_SOON_MS = 1_000;
/** While a run is followed its own stream is open, which does not tell of other runs; the list is then asked. */
const LIST_POLL_MS = 15_000;
const READINESS_POLL_MS = 10_000;

/** A query that failed asks again by itself, so that a page heals when the API does. */
export function untilItWorks(query: { state: { error: Error | null } }): number | false {
  const { error } = query.state;
  if (!error) return false;
  if (!(error instanceof ApiError)) return RETRY_MS;
  if (error.final) return false;
  // 503 is an API that has just started and still reads its bucket.
  return error.status === 503 ? RETRY_SOON_MS : RETRY_MS;
}

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        refetchOnReconnect: false,
        networkMode: "always",
        retry: (failures, error) => failures < 1 && !(error instanceof ApiError && error.final),
        retryDelay: 500,
        refetchInterval: untilItWorks,
      },
    },
  });
}

export function runsQuery() {
  return queryOptions({
    queryKey: ["runs"],
    queryFn: ({ signal }) => get<RunPage>("/runs?limit=50", signal),
    refetchInterval: (query) => untilItWorks(query) || LIST_POLL_MS,
  });
}

export interface RunFilter {
  state?: string | undefined;
  dataset?: string | undefined;
  cursor?: string | undefined;
}

/** A page of the list of runs. */
export function runPageQuery(filter: RunFilter, limit = 25) {
  const given = Object.entries(filter).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const query = new URLSearchParams([["limit", String(limit)], ...given]).toString();
  return queryOptions({
    queryKey: ["runs", query],
    queryFn: ({ signal }) => get<RunPage>(`/runs?${query}`, signal),
    refetchInterval: (known) => untilItWorks(known) || LIST_POLL_MS,
  });
}

/** What runs cost and gave. It is of many runs, so it is not read again with each round of one. */
export function frontierQuery(dataset: string | null, limit = 100) {
  const query = new URLSearchParams({ limit: String(limit), ...(dataset ? { dataset } : {}) }).toString();
  return queryOptions({
    queryKey: ["frontier", query],
    queryFn: ({ signal }) => get<Frontiers>(`/frontier?${query}`, signal),
    refetchInterval: (known) => untilItWorks(known) || LIST_POLL_MS,
    meta: { paced: true },
  });
}

export function runQuery(runId: string) {
  return queryOptions({
    queryKey: ["run", runId],
    queryFn: ({ signal }) => get<RunDetail>(`/runs/${encodeURIComponent(runId)}`, signal),
  });
}

export function metricQuery(runId: string, metric: "accuracy" | "loss" | "epsilon_run") {
  return queryOptions({
    queryKey: ["run", runId, "metric", metric],
    queryFn: ({ signal }) =>
      get<MetricSeries>(`/runs/${encodeURIComponent(runId)}/metrics/${metric}?points=1000`, signal),
  });
}

export function privacyQuery(runId: string) {
  return queryOptions({
    queryKey: ["run", runId, "privacy"],
    queryFn: ({ signal }) => get<RunPrivacy>(`/runs/${encodeURIComponent(runId)}/privacy`, signal),
  });
}

export function logQuery(runId: string) {
  return queryOptions({
    queryKey: ["run", runId, "log"],
    queryFn: ({ signal }) => get<RunLog>(`/runs/${encodeURIComponent(runId)}/log`, signal),
  });
}

/** Who the API takes this tab for. */
export function meQuery() {
  return queryOptions({ queryKey: ["me"], queryFn: ({ signal }) => get<Me>("/me", signal) });
}

/** Whether the API reads its bucket. Nothing is told of it when that stops, so it is asked now and then. */
export function readinessQuery() {
  return queryOptions({
    queryKey: ["readiness"],
    queryFn: ({ signal }): Promise<Readiness> => readiness(signal),
    refetchInterval: READINESS_POLL_MS,
    retry: false,
  });
}
