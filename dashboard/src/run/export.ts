/** A run's records as a file. Files come from the API byte for byte; a plain link could not carry the reader's key. */
import { ask, get } from "../api/client";
import type { RecordPage, RunSummary } from "../api/types";
import { saveFile } from "../ui/save-file";

export type RecordFormat = "csv" | "ndjson" | "json";

const TYPES = { csv: "text/csv", ndjson: "application/x-ndjson", json: "application/json" } as const;
const PAGE = 5000;

/** Saves the records of the run, or of one of its sites; resolves with the file's name. */
export async function saveRecords(
  run: Pick<RunSummary, "run_id" | "name">,
  format: RecordFormat,
  site: string | null,
): Promise<string> {
  const path = `/runs/${encodeURIComponent(run.run_id)}/records`;
  const content = format === "json" ? await asDocument(path, site) : await asFile(path, format, site);
  const name = [run.name, run.run_id, ...(site === null ? [] : [site])].join("-") + `.${format}`;
  saveFile(name, content);
  return name;
}

function asFile(path: string, format: RecordFormat, site: string | null): Promise<Blob> {
  const query = new URLSearchParams({ format, partial: "true", ...(site === null ? {} : { site }) });
  return ask(`${path}?${query}`, TYPES[format], (response) => response.blob());
}

/** Every page of the records, as one JSON array. */
async function asDocument(path: string, site: string | null): Promise<Blob> {
  const records: RecordPage["records"] = [];
  let cursor = "start";
  for (;;) {
    const query = new URLSearchParams({
      cursor,
      limit: String(PAGE),
      partial: "true",
      ...(site === null ? {} : { site }),
    });
    const page = await get<RecordPage>(`${path}?${query}`);
    records.push(...page.records);
    if (!page.more || page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  return new Blob([JSON.stringify(records, null, 1)], { type: TYPES.json });
}
