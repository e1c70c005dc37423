import { CopyButton } from "./copy-button";

/** A SHA-256 as a fact of a list: its beginning, and all of it on the clipboard. */
export function Digest({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{`${name} SHA-256`}</dt>
      <dd>
        <code>{value.slice(0, 12)}…</code>
        <CopyButton what={`the SHA-256 of the ${name.toLowerCase()}`} text={value} />
      </dd>
    </div>
  );
}
