/** The charges as files, exact: nothing is rounded, and what was not told is empty. */
import { get } from "../api/client";
import type { Charge, ChargePage } from "../api/types";
import { chargesPath } from "./queries";

/** More lines than this are for a program that reads the API. */
export const MOST_LINES = 20_000;
const PAGE = 200;

const COLUMNS = [
  "run_id",
  "name",
  "state",
  "dataset",
  "site",
  "at",
  "outcome",
  "code",
  "delta",
  "epsilon_run",
  "epsilon_before",
  "epsilon_after",
  "unlisted",
  "rounds",
  "missed",
  "late",
  "evaluations",
  "epsilon_evaluations",
  "ledger_seq",
  "ledger_head",
  "policy_digest",
] as const satisfies readonly (keyof Charge)[];

/** Every charge, page by page, newest first. */
export async function everyCharge(site: string | null, dataset: string | null): Promise<Charge[]> {
  const found: Charge[] = [];
  let cursor: string | null = null;
  do {
    const page: ChargePage = await get<ChargePage>(chargesPath(site, dataset, PAGE, cursor));
    found.push(...page.charges);
    cursor = page.next_cursor;
  } while (cursor !== null && found.length < MOST_LINES);
  return found;
}

/** RFC 4180. A cell that a spreadsheet would take for a formula is told as text. */
export function toCsv(charges: readonly Charge[]): string {
  const cell = (value: Charge[keyof Charge]) => {
    const text = value === null ? "" : String(value);
    const safe = /^[=+\-@\t\r]/.test(text) && typeof value === "string" ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = charges.map((charge) => COLUMNS.map((column) => cell(charge[column])).join(","));
  return [COLUMNS.join(","), ...lines].map((line) => `${line}\r\n`).join("");
}

export function toJson(charges: readonly Charge[]): string {
  return `${JSON.stringify(charges, null, 2)}\n`;
}
