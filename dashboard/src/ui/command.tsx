import { useState } from "react";

import { CheckIcon, CopyIcon } from "./icons";

/** A command to type, and where: a row of a list of commands. */
export function Command({ where, command }: { where: string; command: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <>
      <dt>{where}</dt>
      <dd className="command">
        <code>{command}</code>
        <button
          type="button"
          className="icon-button"
          aria-label={copied ? "Command copied" : `Copy the command ${command}`}
          onClick={() => {
            void navigator.clipboard.writeText(command).then(() => {
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
    </>
  );
}
