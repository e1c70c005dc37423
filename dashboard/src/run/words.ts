/** States and causes as a person reads them. */
import type { RunDetail, RunState, SitePrivacy, SiteStatus } from "../api/types";
import { plural } from "../format/numbers";

export const STATE_WORDS: Record<RunState, string> = {
  active: "Running",
  finished: "Finished",
  halted: "Halted",
  failed: "Failed",
  cancelled: "Cancelled",
};

export const STATUS_WORDS: Record<SiteStatus, string> = {
  within_budget: "Within budget",
  near_limit: "Near its limit",
  at_limit: "At its limit",
  refused: "Declined",
  offline: "Offline",
  waiting: "Not yet joined",
};

/** Why a site declined, by the fixed code that it sent; its own log has the reason in full. */
const REFUSAL_WORDS: Record<string, string> = {
  BAD_REQUEST: "request not understood",
  BAD_PARAMETERS: "parameters do not fit",
  UNKNOWN_APP: "unknown application",
  CONTRACT_MISMATCH: "other data contract",
  POLICY_REFUSED: "against its policy",
  BUDGET_EXHAUSTED: "budget cannot pay",
  NOT_ADMITTED: "never admitted",
  REQUEST_CHANGED: "request changed",
  RUN_CLOSED: "run closed there",
  LEDGER_UNAVAILABLE: "ledger unavailable",
  LEDGER_ROLLED_BACK: "ledger set back",
  APPROVAL_NEEDED: "not approved in time",
  INTERNAL: "fault at the site",
};

export function refusalWords(code: string): string {
  return REFUSAL_WORDS[code] ?? code;
}

export function statusWords(site: SitePrivacy): string {
  const words = STATUS_WORDS[site.status];
  if (site.status !== "refused" || site.code === null) return words;
  return `${words}: ${refusalWords(site.code)}`;
}

/** Why a run ended before its last round, and what was kept of it. Null for a run that needs no explaining. */
export function endWords(run: RunDetail): { title: string; text: string; problem: boolean } | null {
  if (run.state === "active" || run.state === "finished") return null;
  const kept =
    run.round === 0
      ? "No training round was completed; nothing that was charged is refunded."
      : `The checkpoint of round ${run.round} is kept; what its rounds cost stays charged.`;
  const after =
    run.round === 0 ? "before its first round" : `after ${plural(run.round, "round")} of ${run.rounds}`;
  switch (run.cause) {
    case "budget":
      return {
        title: `Privacy limit reached ${after}.`,
        text: `A site’s budget cannot pay for another round, so it stopped before its limit was passed. ${kept}`,
        problem: true,
      };
    case "refused":
      return {
        title: `Declined by a site ${after}.`,
        text: `The plan asks for what the site’s policy or budget does not allow. ${kept}`,
        problem: true,
      };
    case "quorum":
      return {
        title: `Too few sites answered ${after}.`,
        text: `The run needs more replies than came. ${kept}`,
        problem: true,
      };
    case "deadline":
      return {
        title: `Out of time ${after}.`,
        text: `Its deadline passed before the last round closed. ${kept}`,
        problem: true,
      };
    case "operator":
      return { title: `Ended by an operator ${after}.`, text: kept, problem: false };
    default:
      return {
        title: `Failed ${after}.`,
        text: `A fault at the server${run.code === null ? "" : ` (${run.code})`}, whose log has the reason. ${kept}`,
        problem: true,
      };
  }
}
