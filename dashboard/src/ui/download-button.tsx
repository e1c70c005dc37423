import { useState } from "react";

import { ask } from "../api/client";
import { DownloadIcon } from "./icons";
import { saveFile } from "./save-file";

interface DownloadProps {
  /** Below the API's root. */
  path: string;
  /** Media type that is asked for. */
  accept: string;
  /** Of the file that is saved. */
  name: string;
  children: string;
}

/** Saves an answer of the API as a file, byte for byte. A plain link could not carry the reader's key. */
export function DownloadButton({ path, accept, name, children }: DownloadProps) {
  const [fault, setFault] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  async function download() {
    setBusy(true);
    try {
      saveFile(name, await ask(path, accept, (response) => response.blob()));
      setFault(null);
    } catch (error) {
      setFault(error instanceof Error ? error.message : "It could not be saved.");
    } finally {
      setBusy(false);
    }
  }
  return (
    <>
      <button type="button" className="button small" aria-disabled={busy} onClick={() => void download()}>
        <DownloadIcon />
        {children}
      </button>
      {fault && (
        <span className="attention" role="alert">
          {children}: {fault}
        </span>
      )}
    </>
  );
}
