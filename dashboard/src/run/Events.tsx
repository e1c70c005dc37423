import { useState } from "react";

import type { RunLog } from "../api/types";
import { local, utcTime } from "../format/time";

const ICONS = { ok: "✓", info: "ⓘ", warning: "▲", problem: "✕" };

/** What happened, newest first. */
export function Events({ log }: { log: RunLog | undefined }) {
  const [problems, setProblems] = useState(false);
  const entries = (log?.entries ?? []).filter(
    (entry) => !problems || entry.level === "problem" || entry.level === "warning",
  );
  return (
    <section className="card" aria-labelledby="events">
      <header className="card-head">
        <h2 id="events">Events</h2>
        <div role="group" aria-label="Show">
          {["All", "Problems"].map((name) => (
            <button
              key={name}
              type="button"
              className="button small"
              aria-pressed={problems === (name === "Problems")}
              onClick={() => {
                setProblems(name === "Problems");
              }}
            >
              {name}
            </button>
          ))}
        </div>
      </header>
      <ul className="events scroll" tabIndex={0} aria-label="Events, newest first">
        {entries.map((entry) => (
          <li key={entry.id}>
            <span className={entry.level} aria-hidden="true">
              {ICONS[entry.level]}
            </span>
            <time dateTime={entry.at} title={local(entry.at)}>
              {utcTime(entry.at)}
            </time>
            <span>{entry.text}</span>
          </li>
        ))}
        {entries.length === 0 && <li className="muted">{problems ? "No problems." : "Nothing yet."}</li>}
      </ul>
    </section>
  );
}
