import { useState } from "react";

import { useRuns } from "../api/queries";
import { RunView } from "../run/RunView";
import { Empty, Failed, Skeleton } from "../states/States";
import { RunPicker } from "./RunPicker";
import { ThemeButton } from "./ThemeButton";

function chosenRun(): string | null {
  return new URLSearchParams(location.search).get("run");
}

/** The frame: rail, top bar, and the run that the address names, or the newest. */
export function App() {
  const [chosen, setChosen] = useState(chosenRun);
  const runs = useRuns();
  const list = runs.data?.runs ?? [];
  const shown = chosen ?? list[0]?.run_id ?? null;

  const choose = (runId: string): void => {
    history.replaceState(null, "", `?run=${encodeURIComponent(runId)}`);
    setChosen(runId);
  };

  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to the run
      </a>
      <nav className="rail" aria-label="Views">
        <p className="brand">
          <img src="./favicon.svg" alt="" width="24" height="24" /> fedpriv
        </p>
        <a className="rail-link" href="./" aria-current="page">
          Training runs
        </a>
      </nav>
      <div className="page">
        <header className="bar">
          {list.length > 0 && <RunPicker runs={list} value={shown} onChoose={choose} />}
          <span id="live-slot" className="live" />
          <ThemeButton />
        </header>
        <main id="content" tabIndex={-1}>
          <h1 className="hidden">Training run</h1>
          {shown ? (
            <RunView key={shown} runId={shown} />
          ) : runs.isError ? (
            <Failed error={runs.error} onRetry={() => void runs.refetch()} />
          ) : runs.isPending ? (
            <Skeleton />
          ) : (
            <Empty />
          )}
        </main>
      </div>
    </div>
  );
}
