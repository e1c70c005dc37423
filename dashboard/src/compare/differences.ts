/** What two or more runs were asked to do, setting by setting. Pure. */
import type { RunDetail } from "../api/types";
import * as format from "../format/numbers";
import { NOT_APPLICABLE } from "../format/numbers";

export interface Setting {
  name: string;
  /** One for each run. */
  values: string[];
}

const number = (value: number | null | undefined) =>
  value == null ? NOT_APPLICABLE : format.constant(value);

const SETTINGS: readonly [string, (run: RunDetail) => string][] = [
  ["Target ε", ({ plan }) => format.limit(plan.epsilon)],
  ["δ", ({ plan }) => format.delta(plan.delta)],
  ["Recipe", ({ plan }) => plan.recipe],
  ["Strategy", ({ plan }) => plan.strategy],
  ["Strategy options", ({ plan }) => options(plan.strategy_options)],
  ["Sites", ({ plan }) => String(plan.sites)],
  ["Rounds", (run) => String(run.rounds)],
  ["Noise σ, training", ({ plan }) => number(plan.train.noise_multiplier)],
  ["Noise σ, centring", ({ plan }) => number(plan.centre?.noise_multiplier)],
  ["Clip C, training", ({ plan }) => number(plan.train.max_grad_norm)],
  ["Clip C, centring", ({ plan }) => number(plan.centre?.max_grad_norm)],
  ["Rate q", ({ plan }) => number(plan.train.sample_rate)],
  ["Steps in a round", ({ plan }) => String(plan.train.steps)],
  ["Learning rate η", ({ plan }) => number(plan.learning_rate)],
  ["Local learning rate", ({ plan }) => number(plan.local_learning_rate)],
  ["Batch size", ({ plan }) => (plan.batch_size == null ? NOT_APPLICABLE : String(plan.batch_size))],
  ["Averages from round", ({ plan }) => String(plan.average_from)],
  ["Evaluations after rounds", ({ plan }) => plan.evaluate?.at.join(", ") ?? NOT_APPLICABLE],
  [
    "ε of an evaluation",
    ({ plan }) => (plan.evaluate ? format.limit(plan.evaluate.epsilon) : NOT_APPLICABLE),
  ],
  ["Data set", (run) => run.dataset],
  ["Data contract", ({ plan }) => `${plan.contract_digest.slice(0, 12)}…`],
  ["Declared size", ({ plan }) => String(plan.nominal_size)],
  ["Neighbours", ({ plan }) => `${plan.adjacency} one ${plan.unit}`],
  [
    "Model",
    ({ plan }) => `${plan.model.kind}, ${plan.model.n_features} features, ${plan.model.n_classes} classes`,
  ],
  [
    "Public validation",
    (run) =>
      run.public_validation ? `${run.public_validation.name}, ${run.public_validation.size}` : NOT_APPLICABLE,
  ],
  ["Least reply time", ({ plan }) => `${plan.min_reply_ms} ms`],
];

function options(given: Record<string, number> | undefined): string {
  const entries = Object.entries(given ?? {});
  return entries.length === 0
    ? NOT_APPLICABLE
    : entries.map(([name, value]) => `${name} ${format.constant(value)}`).join(", ");
}

/** Settings in which the runs differ, and those that are the same in all of them. */
export function differences(runs: readonly RunDetail[]): { differ: Setting[]; same: Setting[] } {
  const all = SETTINGS.map(([name, read]) => ({ name, values: runs.map(read) }));
  const differs = ({ values }: Setting) => new Set(values).size > 1;
  return { differ: all.filter(differs), same: all.filter((setting) => !differs(setting)) };
}

/** What tells runs apart in a few characters: their names or targets where all of them differ, else nothing: they
    have their letters. */
export function shortNames(runs: readonly RunDetail[]): string[] {
  const readings: ((run: RunDetail) => string)[] = [
    (run) => run.name,
    (run) => `ε ${format.limit(run.epsilon_target)}`,
  ];
  for (const read of readings) {
    const names = runs.map(read);
    if (new Set(names).size === runs.length && names.every((name) => name.length <= 18)) return names;
  }
  return runs.map(() => "");
}
