import { useMemo, type ReactNode } from "react";

import type { Frontier } from "../api/types";
import { navigate, to, type View } from "../api/view";
import { ChartFrame } from "../charts/chart-card";
import { FRONTIER_HEIGHT } from "../charts/round-chart";
import { ScatterChart } from "../charts/scatter-chart";
import type { Place } from "../charts/scatter";
import { Card } from "../ui/card";
import { COST_WORDS, frontierTable, planeModel, type Cost, type Singled } from "./model";

const TITLE = "Privacy and accuracy";

interface FrontierCardProps {
  /** Null while it is read. */
  frontier: Frontier | null;
  cost: Cost;
  singled: ReadonlyMap<string, Singled>;
  trail?: readonly Place[];
  view: View;
  /** Instead of the chart, where there is nothing to draw. */
  empty?: ReactNode;
  note?: string;
}

const NOTE =
  "Last round of each run that compares. Up and left is better; the dashed steps are what no other run beats";

/** One mark for each run: what it cost a record, and what its model is worth. */
export function FrontierCard({
  frontier,
  cost,
  singled,
  trail,
  view,
  empty,
  note = NOTE,
}: FrontierCardProps) {
  const model = useMemo(
    () => (frontier ? planeModel({ frontier, cost, singled, ...(trail ? { trail } : {}) }) : null),
    [frontier, cost, singled, trail],
  );
  if (!frontier || !model) {
    return (
      <Card title={TITLE} note={note} className="frontier">
        <div className="chart-body">
          {empty ? (
            <div className="chart-empty" style={{ height: FRONTIER_HEIGHT }}>
              {empty}
            </div>
          ) : (
            <div className="bone block" style={{ blockSize: FRONTIER_HEIGHT }} />
          )}
        </div>
      </Card>
    );
  }
  return (
    <ChartFrame
      title={TITLE}
      note={note}
      className="frontier"
      table={frontierTable(frontier)}
      empty={model.points.length === 0 ? (empty ?? <NoPoint frontier={frontier} />) : null}
      height={FRONTIER_HEIGHT}
      actions={<CostSwitch cost={cost} view={view} />}
    >
      <ScatterChart
        model={model}
        height={FRONTIER_HEIGHT}
        onChoose={(run) => {
          navigate(to("run", { run }));
        }}
      />
    </ChartFrame>
  );
}

function NoPoint({ frontier }: { frontier: Frontier }) {
  if (frontier.runs.some((run) => run.missing === "not_released")) {
    return (
      <>
        <strong>Not released: would cost privacy</strong>
        <p>
          Without a public validation set or an evaluation on held-out records, no run has an accuracy to
          show.
        </p>
      </>
    );
  }
  return <p>The first run shows up here when it has an accuracy.</p>;
}

function CostSwitch({ cost, view }: { cost: Cost; view: View }) {
  return (
    <div className="segments" role="group" aria-label="Cost that is shown">
      {(["run", "lifetime"] as const).map((choice) => (
        <button
          key={choice}
          type="button"
          aria-pressed={cost === choice}
          onClick={() => {
            navigate(
              { ...view, query: to("run", { ...view.query, cost: choice === "run" ? null : choice }).query },
              true,
            );
          }}
        >
          {COST_WORDS[choice]}
        </button>
      ))}
    </div>
  );
}

/** The cost that an address asks for. */
export function costIn(view: View): Cost {
  return view.query.cost === "lifetime" ? "lifetime" : "run";
}
