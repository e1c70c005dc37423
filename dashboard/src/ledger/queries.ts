/** What the ledger and the sites pages read. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";

import { get } from "../api/client";
import { untilItWorks } from "../api/queries";
import type { ChargePage, LedgerPage, SiteDetail, SitePage } from "../api/types";

/** The stream that these pages follow tells when a run appears and ends; what a run charges meanwhile is asked for. */
const ACTIVE_POLL_MS = 3_000;
/** Accounts and sites of one answer; the API gives no more. */
const MOST = 200;

function path(base: string, query: Readonly<Record<string, string | number | null>>): string {
  const kept = Object.entries(query).filter(([, value]) => value !== null);
  return `${base}?${new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString()}`;
}

export function ledgerQuery(dataset: string | null) {
  return queryOptions({
    queryKey: ["ledger", dataset],
    queryFn: ({ signal }) => get<LedgerPage>(path("/privacy/ledger", { dataset, limit: MOST }), signal),
    placeholderData: keepPreviousData,
    refetchInterval: (query) => {
      const active = query.state.data?.accounts.some((account) => account.epsilon_planned !== null);
      return untilItWorks(query) || (active ? ACTIVE_POLL_MS : false);
    },
  });
}

export function chargesPath(
  site: string | null,
  dataset: string | null,
  limit: number,
  cursor: string | null,
) {
  return path("/privacy/ledger/charges", { site, dataset, limit, cursor });
}

export function chargesQuery(site: string | null, dataset: string | null) {
  return infiniteQueryOptions({
    queryKey: ["charges", site, dataset],
    queryFn: ({ signal, pageParam }) => get<ChargePage>(chargesPath(site, dataset, 50, pageParam), signal),
    initialPageParam: null as string | null,
    placeholderData: keepPreviousData,
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: (query) => {
      const active = query.state.data?.pages[0]?.charges.some((charge) => charge.state === "active");
      return untilItWorks(query) || (active ? ACTIVE_POLL_MS : false);
    },
  });
}

export function sitesQuery() {
  return queryOptions({
    queryKey: ["sites"],
    queryFn: ({ signal }) => get<SitePage>(path("/sites", { limit: MOST }), signal),
    refetchInterval: (query) => {
      const active = query.state.data?.sites.some((site) => site.run_active);
      return untilItWorks(query) || (active ? ACTIVE_POLL_MS : false);
    },
  });
}

export function siteQuery(site: string) {
  return queryOptions({
    queryKey: ["site", site],
    queryFn: ({ signal }) => get<SiteDetail>(`/sites/${encodeURIComponent(site)}`, signal),
    refetchInterval: (query) =>
      untilItWorks(query) || (query.state.data?.run_active ? ACTIVE_POLL_MS : false),
  });
}
