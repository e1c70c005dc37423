import { useEffect, useRef } from "react";

import { Who } from "../access/who";
import type { RunSummary } from "../api/types";
import { to, type View } from "../api/view";
import * as format from "../format/numbers";
import { utcMinute } from "../format/time";
import { PAGES } from "../pages";
import { STATE_WORDS } from "../run/words";
import { Shield } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { RunMark } from "./run-mark";

/** So many runs are a glance; the picker has the rest. */
const RECENT = 8;

interface RailProps {
  runs: readonly RunSummary[];
  view: View;
  /** The run that the page is about. */
  shown: string | null;
}

export function Rail({ runs, view, shown }: RailProps) {
  const views = useRef<HTMLUListElement>(null);
  // Where the rail lies below the bar it may be wider than the window.
  useEffect(() => {
    const link = views.current?.querySelector<HTMLElement>("[aria-current]");
    if (views.current && link) views.current.scrollLeft = link.offsetLeft - 24;
  }, [view.page]);

  return (
    <nav className="rail" aria-label="Views">
      <div className="rail-inner">
        <a className="brand" href="./">
          <span className="brand-mark">
            <Shield />
          </span>
          fedpriv
        </a>
        <ul className="rail-views" ref={views}>
          {PAGES.filter(({ icon }) => icon !== null).map(({ page, name, icon }) => (
            <li key={page}>
              <ViewLink className="rail-view" view={to(page)} current={page === view.page && "page"}>
                {icon}
                {name}
              </ViewLink>
            </li>
          ))}
        </ul>
        {runs.length > 0 && (
          <div className="rail-recent">
            <p className="rail-heading" id="recent-runs">
              Recent
            </p>
            <ul aria-labelledby="recent-runs">
              {runs.slice(0, RECENT).map((run) => (
                <li key={run.run_id}>
                  <ViewLink
                    className="rail-run"
                    view={to("run", { run: run.run_id })}
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
          </div>
        )}
        <p className="rail-foot">Every figure here is public or was released under differential privacy.</p>
        <Who />
      </div>
    </nav>
  );
}
