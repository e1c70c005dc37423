import { useState } from "react";

import { saveFile } from "../ui/save-file";
import { everyCharge, toCsv, toJson } from "./export";

const KINDS = {
  CSV: { type: "text/csv", encode: toCsv },
  JSON: { type: "application/json", encode: toJson },
} as const;

/** Every charge that is shown or could be, exact. */
export function ExportButtons({ site, dataset }: { site: string | null; dataset: string | null }) {
  const [state, setState] = useState<{ text: string; failed: boolean } | null>(null);
  const save = async (kind: keyof typeof KINDS) => {
    setState({ text: "Reading", failed: false });
    try {
      const charges = await everyCharge(site, dataset);
      const name = [
        "privacy-ledger",
        ...(site === null ? [] : [site]),
        new Date().toISOString().slice(0, 10),
      ].join("-");
      saveFile(
        `${name}.${kind.toLowerCase()}`,
        new Blob([KINDS[kind].encode(charges)], { type: KINDS[kind].type }),
      );
      setState({ text: `${charges.length} charges saved`, failed: false });
    } catch (error) {
      setState({
        text: error instanceof Error ? error.message : "The charges could not be read.",
        failed: true,
      });
    }
  };
  return (
    <>
      <p className={state?.failed ? "note attention" : "note"} role="status">
        {state?.text}
      </p>
      {(["CSV", "JSON"] as const).map((kind) => (
        <button
          key={kind}
          type="button"
          className="button small"
          onClick={() => {
            void save(kind);
          }}
        >
          <span className="sr-only">Save every charge as </span>
          {kind}
        </button>
      ))}
    </>
  );
}
