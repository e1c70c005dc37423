import { useState } from "react";

import { CheckIcon, CopyIcon } from "./icons";

/** A SHA-256 as a fact of a list: its beginning, and all of it on the clipboard. */
export function Digest({ name, value }: { name: string; value: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <div>
      <dt>{`${name} SHA-256`}</dt>
      <dd>
        <code>{value.slice(0, 12)}…</code>
        <button
          type="button"
          className="icon-button"
          aria-label={
            copied
              ? `SHA-256 of the ${name.toLowerCase()} copied`
              : `Copy the SHA-256 of the ${name.toLowerCase()}`
          }
          onClick={() => {
            void navigator.clipboard.writeText(value).then(() => {
              setCopied(true);
            });
          }}
          onBlur={() => {
            setCopied(false);
          }}
        >
          {copied ? <CheckIcon /> : <CopyIcon />}
        </button>
      </dd>
    </div>
  );
}
