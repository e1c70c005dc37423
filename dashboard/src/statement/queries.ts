import { queryOptions } from "@tanstack/react-query";

import { get } from "../api/client";
import { untilItWorks } from "../api/queries";
import type { SignedStatement, StatementCheck } from "../api/types";

const CHECKING_MS = 1_000;
const AWAITED_MS = 5_000;

/** The state of a run's statement. Nothing tells when a check is done or a signature has come: it is asked for. */
export function checkQuery(runId: string, ended: boolean) {
  return queryOptions({
    queryKey: ["run", runId, "statement check"],
    queryFn: ({ signal }) =>
      get<StatementCheck>(`/runs/${encodeURIComponent(runId)}/statement/check`, signal),
    refetchInterval: (query) => {
      const check = query.state.data;
      if (check?.state === "checking") return CHECKING_MS;
      if (check?.state === "none" && check.expected && ended) return AWAITED_MS;
      return untilItWorks(query);
    },
  });
}

/** The statement itself. `digest` is in the question: another file is another answer. */
export function statementQuery(runId: string, digest: string) {
  return queryOptions({
    queryKey: ["run", runId, "statement", digest],
    queryFn: ({ signal }) => get<SignedStatement>(`/runs/${encodeURIComponent(runId)}/statement`, signal),
  });
}
