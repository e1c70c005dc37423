import type { RunSummary } from "../api/types";
import type { Live } from "../api/use-live";
import { ago, local, utcMinute } from "../format/time";
import { STATE_WORDS } from "../run/words";
import { useNow } from "./use-now";

/** Whether what is on the page is what is. */
export function LiveLine({ live, run }: { live: Live; run: RunSummary | null }) {
  const now = useNow();
  const age = ago(now - live.updatedAt);
  switch (live.state.phase) {
    case "connecting":
      return <Line look="quiet" text="Connecting" />;
    case "paused":
      return <Line look="quiet" text="Paused in the background" age={age} />;
    case "waiting":
      return <Line look="broken" text="Reconnecting" age={age} />;
    case "live":
      if (run?.ended_at) {
        return (
          <p className="live">
            <span className="live-mark is-done" aria-hidden="true" />
            <span>{STATE_WORDS[run.state]}</span>
            <time className="live-word" dateTime={run.ended_at} title={local(run.ended_at)}>
              {utcMinute(run.ended_at)}
            </time>
          </p>
        );
      }
      return <Line look="live" text="Live" age={age} />;
  }
}

/** `age` is when the page was last up to date; a narrow bar leaves the word "updated" out. */
function Line({ look, text, age }: { look: "live" | "quiet" | "broken"; text: string; age?: string }) {
  return (
    <p className="live">
      <span className={`live-mark is-${look}`} aria-hidden="true" />
      <span>
        {text}
        {age && (
          <>
            , <span className="live-word">updated </span>
            {age}
          </>
        )}
      </span>
    </p>
  );
}
