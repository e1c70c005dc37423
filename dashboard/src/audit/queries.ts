import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";

import { get } from "../api/client";
import { untilItWorks } from "../api/queries";
import type { AuditKind, AuditPage, Chains } from "../api/types";

/** What is beside the runs is looked for every half minute by the API, and nothing tells the page of it. */
const POLL_MS = 30_000;
const PAGE = 100;

export interface Question {
  kind: AuditKind | null;
  site: string | null;
  run: string | null;
}

/** The question as the API's query spells it; also that of an export, which has no pages. */
export function spell({ kind, site, run }: Question, more: Record<string, string> = {}): string {
  const query = new URLSearchParams(more);
  if (kind !== null) query.set("kind", kind);
  if (site !== null) query.set("site", site);
  if (run !== null) query.set("run", run);
  return query.size > 0 ? `/audit?${query}` : "/audit";
}

export function auditQuery(question: Question) {
  return infiniteQueryOptions({
    queryKey: ["audit", question],
    queryFn: ({ signal, pageParam }) =>
      get<AuditPage>(
        spell(question, { limit: String(PAGE), ...(pageParam === "" ? {} : { cursor: pageParam }) }),
        signal,
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: (query) => untilItWorks(query) || POLL_MS,
  });
}

export function chainsQuery(site: string | null) {
  return queryOptions({
    queryKey: ["audit chains", site],
    queryFn: ({ signal }) =>
      get<Chains>(site === null ? "/audit/chains" : `/audit/chains?site=${encodeURIComponent(site)}`, signal),
    refetchInterval: (query) => untilItWorks(query) || POLL_MS,
  });
}
