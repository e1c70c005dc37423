import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { frontierQuery } from "../api/queries";
import type { Frontier, MetricSeries, RunDetail, RunPrivacy } from "../api/types";
import type { View } from "../api/view";
import { costIn, FrontierCard } from "../frontier/frontier-card";
import { frontierOf, trailOf, worst, type Singled } from "../frontier/model";

interface RunFrontierProps {
  run: RunDetail;
  accuracy: MetricSeries;
  privacy: RunPrivacy;
  view: View;
}

/** Where this run stands among those that compare with it, and the way it took there. */
export function RunFrontier({ run, accuracy, privacy, view }: RunFrontierProps) {
  const { data, error } = useQuery(frontierQuery(run.dataset));
  const cost = costIn(view);
  const frontier = useMemo(() => {
    const found = data ? frontierOf(data, [run.run_id]) : null;
    return found && asOfNow(found, run);
  }, [data, run]);
  const singled = useMemo(() => {
    const shape = run.state === "halted" ? "diamond" : "circle";
    const tone = run.state === "halted" ? "limit" : "global";
    return new Map<string, Singled>([[run.run_id, { look: { tone, shape }, label: "This run" }]]);
  }, [run.run_id, run.state]);
  const trail = useMemo(() => {
    const global = accuracy.series.find((series) => series.site === "global");
    const points =
      global?.rounds.map((round, index) => ({ round, value: global.values[index] ?? null })) ?? [];
    const lines = privacy.sites.map((site) => ({
      rounds: site.rounds,
      values:
        cost === "run"
          ? site.epsilon_run
          : site.epsilon_spent.map((spent) => spent / (site.epsilon_limit ?? Infinity)),
    }));
    return trailOf(worst(lines), points);
  }, [accuracy, privacy, cost]);
  const empty = error ? (
    <p>The other runs could not be read: {error.message}</p>
  ) : data && !frontier ? (
    <p>This run is older than those that are compared here.</p>
  ) : null;
  return (
    <FrontierCard frontier={frontier} cost={cost} singled={singled} trail={trail} view={view} empty={empty} />
  );
}

/** The list of runs is read now and then; of this run the page knows more. */
function asOfNow(frontier: Frontier, run: RunDetail): Frontier {
  if (!run.public_validation) return frontier;
  const [low, high] = run.accuracy_interval ?? [null, null];
  return {
    ...frontier,
    runs: frontier.runs.map((entry) =>
      entry.run_id === run.run_id
        ? {
            ...entry,
            state: run.state,
            round: run.round,
            value: run.accuracy,
            low,
            high,
            epsilon_run: run.epsilon_run,
            closest_budget: run.closest_budget,
          }
        : entry,
    ),
  };
}
