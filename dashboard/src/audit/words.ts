/** What entries and ledgers are called. */
import type { AuditKind, Chain } from "../api/types";

export const KINDS: Record<AuditKind, string> = {
  run: "Runs",
  admission: "Admissions",
  refusal: "Refusals",
  answer: "Answers",
  statement: "Statements",
  allow_list: "Keys",
  server: "Servers",
  malformed: "Unreadable",
};

export function kindOf(name: string | undefined): AuditKind | null {
  return name !== undefined && name in KINDS ? (name as AuditKind) : null;
}

export const CHAIN_STATES: Record<Chain["state"], { title: string; tone: "ok" | "limit" | "muted" }> = {
  consistent: { title: "Consistent", tone: "ok" },
  forked: { title: "Forked", tone: "limit" },
  rolled_back: { title: "Set back", tone: "limit" },
  unknown: { title: "Nothing told yet", tone: "muted" },
};
