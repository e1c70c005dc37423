import * as Popover from "@radix-ui/react-popover";
import { useState } from "react";

import type { RunSummary } from "../api/types";
import { DownloadIcon } from "../ui/icons";
import type { RecordFormat } from "./export";

const FORMATS: readonly { format: RecordFormat; name: string; use: string }[] = [
  { format: "csv", name: "CSV", use: "for spreadsheets, R and pandas" },
  { format: "ndjson", name: "NDJSON", use: "one record a line, exact" },
  { format: "json", name: "JSON", use: "the same as one document" },
];

interface ExportMenuProps {
  run: Pick<RunSummary, "run_id" | "name" | "state">;
  /** The site that is singled out. */
  site: string | null;
}

/** Saves the run's records as they were written; the code that reads them is loaded when it is first used. */
export function ExportMenu({ run, site }: ExportMenuProps) {
  const [open, setOpen] = useState(false);
  const [only, setOnly] = useState(false);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<{ text: string; failed: boolean } | null>(null);

  async function save(format: RecordFormat) {
    setBusy(true);
    setSaid({ text: "Reading the records", failed: false });
    try {
      const { saveRecords } = await import("./export");
      const name = await saveRecords(run, format, only ? site : null);
      setSaid({ text: `Saved as ${name}`, failed: false });
    } catch (error) {
      const why = error instanceof Error ? error.message : "The records could not be read.";
      setSaid({ text: why, failed: true });
    } finally {
      setBusy(false);
    }
  }

  return (
    <Popover.Root
      open={open}
      onOpenChange={(opened) => {
        setOpen(opened);
        if (opened) setSaid(null);
      }}
    >
      <Popover.Trigger className="button small export-button">
        <DownloadIcon />
        <span className="export-word">
          Export<span className="sr-only"> the records of this run</span>
        </span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="picker-list export-list"
          aria-label="Export the records of this run"
          sideOffset={6}
          align="end"
          collisionPadding={12}
        >
          <p className="note">
            Every record as it was written, with its provenance.
            {run.state === "active" && " The run goes on: the file holds what is there now."}
          </p>
          <ul>
            {FORMATS.map(({ format, name, use }) => (
              <li key={format}>
                <button
                  type="button"
                  className="save-item"
                  aria-disabled={busy}
                  onClick={() => {
                    if (!busy) void save(format);
                  }}
                >
                  {name} <small>{use}</small>
                </button>
              </li>
            ))}
          </ul>
          {site !== null && (
            <label className="export-only">
              <input
                type="checkbox"
                checked={only}
                onChange={(event) => {
                  setOnly(event.currentTarget.checked);
                }}
              />
              Only {site}
            </label>
          )}
          <p className={said?.failed ? "note attention" : "note"} role="status">
            {said?.text}
          </p>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
