import type { AuditEntry } from "../api/types";
import { to } from "../api/view";
import { local, utcMinute, utcTime } from "../format/time";
import { CopyButton } from "../ui/copy-button";
import { LEVEL } from "../ui/level";
import { ViewLink } from "../ui/view-link";

/** What happened, newest first, each with the object that says so. */
export function Entries({ entries }: { entries: readonly AuditEntry[] }) {
  return (
    <ol className="audit-entries">
      {entries.map((entry) => (
        <Entry key={entry.id} entry={entry} />
      ))}
    </ol>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  const { icon, tone, word } = LEVEL[entry.level];
  const named = entry.site !== null && entry.text.startsWith(entry.site);
  return (
    <li>
      <span className={`tone-${tone}`}>{icon}</span>
      <time dateTime={entry.at} title={local(entry.at)}>
        {utcMinute(entry.at).split(",")[0]} <span>{utcTime(entry.at)}</span>
      </time>
      <div>
        <p>
          {word && <span className="sr-only">{word}</span>}
          {named ? (
            <>
              <b>{entry.site}</b>
              {entry.text.slice(entry.site?.length)}
            </>
          ) : (
            entry.text
          )}
        </p>
        <p className="note audit-source">
          {entry.run_id !== null && (
            <ViewLink view={to(entry.kind === "statement" ? "statement" : "run", { run: entry.run_id })}>
              {entry.kind === "statement" ? `Statement of ${entry.run ?? ""}` : `Run ${entry.run ?? ""}`}
            </ViewLink>
          )}
          {entry.digest !== null && (
            <span>
              {entry.kind === "run" ? "Plan, SHA-256" : entry.kind === "allow_list" ? "Key" : "SHA-256"}{" "}
              <code>{entry.digest.slice(0, 12)}…</code>
              <CopyButton what={`the SHA-256 of ${utcTime(entry.at)}, ${entry.what}`} text={entry.digest} />
            </span>
          )}
          <code>{entry.object}</code>
        </p>
      </div>
    </li>
  );
}
