import type { Live } from "../api/use-live";
import { local, utcTime } from "../format/time";
import { useNow } from "../frame/use-now";
import { Banner } from "./banner";

/** An interruption shorter than this heals before anybody could act on it. */
const GRACE_MS = 1500;

interface StaleProps {
  live: Live;
  /** The API answers, but cannot read its bucket since then; null when it can. */
  storageSince: string | null;
  /** The last read of this page's data failed with this message. */
  failure: string | null;
}

/** Says that the page may be behind, since when, and what is being done about it. */
export function StaleBanner({ live, storageSince, failure }: StaleProps) {
  const now = useNow();
  const seen = new Date(live.updatedAt).toISOString();
  const retry = (
    <button type="button" className="button small" onClick={live.retry}>
      Retry now
    </button>
  );
  if (live.state.phase === "waiting" && now - live.state.since >= GRACE_MS) {
    const wait = Math.ceil((live.state.retryAt - now) / 1000);
    return (
      <Banner kind="warning" title="Live updates are interrupted." action={retry}>
        You are looking at data from <Time iso={seen} />. Training is not affected.{" "}
        {wait > 0 ? `Trying again in ${wait} s.` : "Trying again now."}
      </Banner>
    );
  }
  if (storageSince !== null) {
    return (
      <Banner kind="warning" title="The metrics API cannot read its storage." action={retry}>
        You are looking at data from <Time iso={storageSince} />. Training is not affected; the server keeps
        its records until storage is back.
      </Banner>
    );
  }
  if (failure !== null && live.state.phase === "live") {
    return (
      <Banner kind="warning" title="The last read failed." action={retry}>
        {failure} You are looking at data from <Time iso={seen} />.
      </Banner>
    );
  }
  return null;
}

function Time({ iso }: { iso: string }) {
  return (
    <time dateTime={iso} title={local(iso)}>
      {utcTime(iso)} UTC
    </time>
  );
}
