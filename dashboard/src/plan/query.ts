import { keepPreviousData, queryOptions } from "@tanstack/react-query";

import { ApiError, get } from "../api/client";
import type { PlanAnswer } from "../api/types";
import { asked, type Query } from "./question";

/** What sites have told changes with every run. */
const FRESH_MS = 15_000;

/** The plan that an address asks for; the last one stays until the next is there. */
export function planQuery(query: Query) {
  const question = asked(query);
  return queryOptions({
    queryKey: ["plan", question],
    queryFn: ({ signal }) => get<PlanAnswer>(`/plan?${question}`, signal),
    placeholderData: keepPreviousData,
    staleTime: FRESH_MS,
  });
}

/** The API has no answer yet but works on one, or wants to be asked less often: not an error to show. */
export function isComputing(error: Error | null): boolean {
  return error instanceof ApiError && (error.status === 503 || error.status === 429);
}
