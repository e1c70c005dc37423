import { useState } from "react";

import { CheckIcon, CopyIcon } from "./icons";

/** Puts `text` on the clipboard; `what` is said of it, as in "Copy the SHA-256 of the model". */
export function CopyButton({ what, text }: { what: string; text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={copied ? `${what} copied` : `Copy ${what}`}
      onClick={() => {
        void navigator.clipboard.writeText(text).then(() => {
          setCopied(true);
        });
      }}
      onBlur={() => {
        setCopied(false);
      }}
    >
      {copied ? <CheckIcon /> : <CopyIcon />}
    </button>
  );
}
