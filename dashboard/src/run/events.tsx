import { useState } from "react";

import type { LogEntry, RunLog } from "../api/types";
import { local, utcTime } from "../format/time";
import { Card } from "../ui/card";
import { LEVEL } from "../ui/level";

const isProblem = (entry: LogEntry) => entry.level === "warning" || entry.level === "problem";

/** What happened, newest first, each with cause and consequence. */
export function Events({ log }: { log: RunLog }) {
  const [onlyProblems, setOnlyProblems] = useState(false);
  const problems = log.entries.filter(isProblem);
  const entries = onlyProblems ? problems : log.entries;
  return (
    <Card
      className="events"
      title="Events"
      note="What happened, newest first. Times are UTC"
      action={
        <div className="segments" role="group" aria-label="Which events">
          {[false, true].map((choice) => (
            <button
              key={String(choice)}
              type="button"
              aria-pressed={onlyProblems === choice}
              onClick={() => {
                setOnlyProblems(choice);
              }}
            >
              {choice ? `Problems${problems.length > 0 ? ` ${problems.length}` : ""}` : "All"}
            </button>
          ))}
        </div>
      }
    >
      <div className="events-scroll" role="region" aria-label="Events, list" tabIndex={0}>
        {entries.length === 0 && (
          <p className="nothing">{onlyProblems ? "No problems so far." : "Nothing yet."}</p>
        )}
        <ol>
          {entries.map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </ol>
      </div>
      <Announcer latest={problems[0]} />
    </Card>
  );
}

function Entry({ entry }: { entry: LogEntry }) {
  const { icon, tone, word } = LEVEL[entry.level];
  const named = entry.site !== null && entry.text.startsWith(entry.site);
  return (
    <li>
      <span className={`tone-${tone}`}>{icon}</span>
      <time dateTime={entry.at} title={local(entry.at)}>
        {utcTime(entry.at)}
      </time>
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
    </li>
  );
}

/** Speaks problems as they come up, and nothing else: every round read aloud would be noise. */
function Announcer({ latest }: { latest: LogEntry | undefined }) {
  // What was there when the page opened is read in its place; only what comes later is spoken.
  const [first] = useState(latest?.id);
  return (
    <p className="sr-only" role="status">
      {latest && latest.id !== first ? latest.text : ""}
    </p>
  );
}
