import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo, type ReactNode } from "react";

import { frontierQuery, metricQuery, runQuery } from "../api/queries";
import type { Frontiers } from "../api/types";
import { to, type View } from "../api/view";
import { ChartCard } from "../charts/chart-card";
import * as format from "../format/numbers";
import { costIn, FrontierCard } from "../frontier/frontier-card";
import { frontierOf } from "../frontier/model";
import type { PageProps } from "../pages";
import { Message, ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { ChartIcon } from "../ui/icons";
import { ViewHeader } from "../ui/view-header";
import { BoneChart } from "../ui/bones";
import { ViewLink } from "../ui/view-link";
import { ACCURACY, EPSILON, LOSS, lookOf, runsChart, type Compared } from "./charts";
import { DifferencesCard } from "./differences-card";
import { shortNames } from "./differences";
import { RunsCard } from "./runs-card";
import { chosen, MOST, slotsIn, spelled } from "./slots";

const NOTE = "What two to six runs cost and gave, and what they were asked to do differently";

/** Two to six runs side by side. */
export function ComparePage({ view, live, storageSince }: PageProps) {
  const slots = useMemo(() => slotsIn(view.query.runs), [view.query.runs]);
  const ids = chosen(slots);
  const runs = useQueries({ queries: ids.map((id) => runQuery(id)) });
  const accuracies = useQueries({ queries: ids.map((id) => metricQuery(id, "accuracy")) });
  const losses = useQueries({ queries: ids.map((id) => metricQuery(id, "loss")) });
  const epsilons = useQueries({ queries: ids.map((id) => metricQuery(id, "epsilon_run")) });
  const frontiers = useQuery(frontierQuery(runs[0]?.data?.dataset ?? null, 200));
  const failed = [...runs, ...accuracies, ...losses, ...epsilons].find((query) => query.error)?.error ?? null;

  const details = runs.flatMap(({ data }) => data ?? []);
  const names = shortNames(details);
  const compared = ids.flatMap((id, index): Compared[] => {
    const [run, accuracy, loss, epsilon] = [runs, accuracies, losses, epsilons].map(
      (list) => list[index]?.data,
    );
    if (!run || !accuracy || !loss || !epsilon) return [];
    const known = { run, accuracy, loss, epsilon } as Pick<Compared, "run" | "accuracy" | "loss" | "epsilon">;
    return [{ ...lookOf(slots.indexOf(id)), short: names[index] ?? "", ...known }];
  });
  const choose = (
    <ViewLink className="button" view={to("runs", { chosen: spelled(slots) })}>
      {ids.length < 2 ? "Choose runs" : "Change the choice"}
    </ViewLink>
  );
  return (
    <>
      <ViewHeader title="Compare" note={NOTE}>
        {choose}
      </ViewHeader>
      {ids.length < 2 ? (
        <Message icon={<ChartIcon />} tone="global" title="Choose two runs or more">
          <p>
            In the list of runs, mark two of them or more, up to {MOST}; they are then drawn in the same
            charts.
          </p>
          <ViewLink className="button primary" view={to("runs", { chosen: spelled(slots) })}>
            Go to the list of runs
          </ViewLink>
        </Message>
      ) : compared.length === ids.length ? (
        <div className="run">
          <StaleBanner live={live} storageSince={storageSince} failure={failed?.message ?? null} />
          <Comparison compared={compared} slots={slots} frontiers={frontiers.data} view={view} />
        </div>
      ) : failed ? (
        <ReadFailed error={failed} onRetry={live.retry} />
      ) : (
        <CompareSkeleton count={ids.length} />
      )}
    </>
  );
}

interface ComparisonProps {
  compared: readonly Compared[];
  slots: readonly (string | null)[];
  frontiers: Frontiers | undefined;
  view: View;
}

function Comparison({ compared, slots, frontiers, view }: ComparisonProps) {
  const ids = compared.map(({ run }) => run.run_id);
  const frontier = frontiers ? frontierOf(frontiers, ids) : null;
  const singled = new Map(compared.map(({ run, look, letter }) => [run.run_id, { look, label: letter }]));
  const apart = frontier
    ? compared.filter(({ run }) => !frontier.runs.some(({ run_id }) => run_id === run.run_id))
    : [];
  const unreleased = compared.filter(({ run }) => !run.public_validation).map(({ letter }) => letter);
  return (
    <>
      <RunsCard compared={compared} slots={slots} view={view} />
      <div className="charts">
        <Over
          title="Accuracy"
          note="Global model on the public validation set"
          quantity={ACCURACY}
          compared={compared}
          unreleased={unreleased}
        />
        <Over
          title="Loss"
          note="Cross-entropy of the global model on the public validation set"
          quantity={LOSS}
          compared={compared}
          unreleased={unreleased}
        />
        <Over
          title="Privacy of each run"
          note={epsilonNote(compared)}
          quantity={EPSILON}
          compared={compared}
          unreleased={[]}
        />
        <DifferencesCard compared={compared} />
        <FrontierCard
          frontier={frontier}
          cost={costIn(view)}
          singled={singled}
          view={view}
          {...(frontiers && !frontier
            ? { empty: <p>These runs are older than those that are compared here.</p> }
            : {})}
          {...(apart.length > 0
            ? {
                note: `Without ${apart.map(({ letter }) => letter).join(", ")}: another data contract, δ, unit or validation set, so its figures do not compare`,
              }
            : {})}
        />
      </div>
    </>
  );
}

function epsilonNote(compared: readonly Compared[]): string {
  const deltas = new Set(compared.map(({ run }) => format.delta(run.delta)));
  const text = "ε of each run’s training releases, at its worst site";
  return deltas.size === 1
    ? `${text}, at δ ${[...deltas][0] ?? ""}`
    : `${text}. δ differs: ε does not compare`;
}

interface OverProps {
  title: string;
  note: string;
  quantity: typeof ACCURACY;
  compared: readonly Compared[];
  unreleased: readonly string[];
}

function Over({ title, note, quantity, compared, unreleased }: OverProps) {
  const { model, table } = runsChart(compared, quantity);
  const nothing = model.series.every((series) => series.points.every(({ value }) => value === null));
  const empty: ReactNode =
    nothing && unreleased.length > 0 ? (
      <strong>Not released: would cost privacy</strong>
    ) : nothing ? (
      <p>The first round shows up here when it closes.</p>
    ) : null;
  const without =
    unreleased.length > 0 && !nothing ? `. ${unreleased.join(", ")}: ${format.NOT_RELEASED}` : "";
  return <ChartCard title={title} note={`${note}${without}`} model={model} table={table} empty={empty} />;
}

function CompareSkeleton({ count }: { count: number }) {
  return (
    <div className="run" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the runs
      </p>
      <div className="card" aria-hidden="true">
        <div className="bone block" style={{ blockSize: 96 + 41 * count }} />
      </div>
      <div className="charts" aria-hidden="true">
        {["Accuracy", "Loss", "Privacy of each run", "Settings"].map((name) => (
          <BoneChart key={name} name={name} />
        ))}
      </div>
    </div>
  );
}
