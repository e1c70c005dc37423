import type { RunSummary } from "../api/types";
import * as format from "../format/numbers";
import { utcMinute } from "../format/time";
import { STATE_WORDS } from "../run/words";
import { ChartIcon, Shield } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { RunMark } from "./run-mark";

/** So many runs are a glance; the picker has the rest. */
const RECENT = 8;

export function Rail({ runs, shown }: { runs: readonly RunSummary[]; shown: string | null }) {
  return (
    <nav className="rail" aria-label="Views">
      <div className="rail-inner">
        <a className="brand" href="./">
          <span className="brand-mark">
            <Shield />
          </span>
          fedpriv
        </a>
        <ViewLink className="rail-view" view={{ run: null, site: null }} current="page">
          <ChartIcon />
          Training runs
        </ViewLink>
        {runs.length > 0 && (
          <>
            <p className="rail-heading" id="recent-runs">
              Recent
            </p>
            <ul aria-labelledby="recent-runs">
              {runs.slice(0, RECENT).map((run) => (
                <li key={run.run_id}>
                  <ViewLink
                    className="rail-run"
                    view={{ run: run.run_id, site: null }}
                    current={run.run_id === shown}
                  >
                    <RunMark state={run.state} />
                    <span className="rail-run-name">
                      {run.name}
                      <small>
                        <span className="sr-only">{STATE_WORDS[run.state]}, </span>
                        {utcMinute(run.created_at)}
                      </small>
                    </span>
                    <span className="rail-run-figure">
                      {run.accuracy === null ? format.NOT_APPLICABLE : format.accuracy(run.accuracy)}
                    </span>
                  </ViewLink>
                </li>
              ))}
            </ul>
          </>
        )}
        <p className="rail-foot">Every figure here is public or was released under differential privacy.</p>
      </div>
    </nav>
  );
}
