/** What the plan page asks: the address's query on one side, the API's on the other. Pure. */
import type { PlanAnswer } from "../api/types";

export type Query = Readonly<Partial<Record<string, string>>>;

/** A number that can be asked about, as it stands in the address and as a person types it. */
export interface Field {
  name: string;
  label: string;
  /** Typed value for one of the address: percent and points are fractions there. */
  scale?: 100;
  least: number;
  most: number;
  step: number;
  unit?: string;
}

export const EPSILON: Field = {
  name: "epsilon",
  label: "Privacy of the run, ε",
  least: 0.001,
  most: 50,
  step: 0.01,
};
export const SITES: Field = { name: "sites", label: "Sites", least: 1, most: 1000, step: 1 };
export const RECORDS: Field = {
  name: "records",
  label: "Records in all",
  least: 1,
  most: 1e9,
  step: 1,
};
export const SPENT: Field = { name: "spent", label: "Lifetime ε spent", least: 0, most: 1000, step: 0.01 };
export const ACCEPTABLE: Field = {
  name: "acceptable_loss",
  label: "Acceptable loss",
  scale: 100,
  least: 0.1,
  most: 20,
  step: 0.1,
  unit: "points",
};
export const CEILING: Field = {
  name: "ceiling",
  label: "Accuracy ceiling",
  scale: 100,
  least: 1,
  most: 100,
  step: 0.1,
  unit: "%",
};
export const ROUNDS: Field = { name: "rounds", label: "Rounds", least: 1, most: 1000, step: 1 };
export const EVALUATIONS: Field = { name: "evaluations", label: "Evaluations", least: 0, most: 3, step: 1 };
export const LIMIT: Field = {
  name: "limit",
  label: "Lifetime limit, ε",
  least: 0.001,
  most: 1000,
  step: 0.5,
};
export const DELTA: Field = { name: "delta", label: "δ of the run", least: 1e-12, most: 1e-3, step: 1e-6 };

/** Every parameter of the address that the API is asked with; others are not ours. */
const PASSED = [
  ...["contract", "recipe", "epsilon", "delta", "unit", "sites", "quorum", "records", "rounds", "strategy"],
  ...[
    "local_steps",
    "local_learning_rate",
    "batch_size",
    "evaluations",
    "evaluation_epsilon",
    "site",
    "spent",
  ],
  ...["limit", "lifetime_delta", "held_out_share", "acceptable_loss", "ceiling"],
] as const;

/** What is left out of the address because it is what the API takes anyway. */
const DEFAULTS: Query = {
  epsilon: "1",
  sites: "3",
  delta: "1e-5",
  evaluations: "1",
  acceptable_loss: "0.01",
  recipe: "fedsgd-logreg",
};

/** Epsilons of the table, and of the curve where there is one. */
export const TABLE = [0.5, 1, 2, 3, 8] as const;
const CURVE = [0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.4, 2, 2.5, 3, 4, 5, 6, 8, 11, 16] as const;

function isDefault(name: string, value?: string): boolean {
  const taken = DEFAULTS[name];
  return taken !== undefined && (value === taken || Number(value) === Number(taken));
}

/** The query with changes; what is empty or the default is left out. */
export function changed(query: Query, changes: Query): Record<string, string> {
  const merged = Object.entries({ ...query, ...changes });
  return Object.fromEntries(
    merged.filter((entry): entry is [string, string] => Boolean(entry[1]) && !isDefault(...entry)),
  );
}

/** The API's query for that of the address. Only the default recipe's loss is known, so only it has a curve. */
export function asked(query: Query): string {
  const parameters = new URLSearchParams();
  for (const name of PASSED) {
    const value = query[name];
    if (value) parameters.set(name, value);
  }
  parameters.set("epsilons", (query.recipe === "fedavg-mlp" ? TABLE : CURVE).join(","));
  return parameters.toString();
}

/** What stands in a field: the typed form of the address's value, or of the default. */
export function typed(field: Field, query: Query): string {
  const value = query[field.name] ?? DEFAULTS[field.name];
  if (value === undefined) return "";
  if (field.scale === undefined || !Number.isFinite(Number(value))) return value;
  return String(Number((Number(value) * field.scale).toPrecision(10)));
}

/** The address's value for what was typed; null where that is no number of the field, "" where nothing is typed. */
export function read(field: Field, text: string): string | null {
  const trimmed = text.trim().replace(",", ".");
  if (trimmed === "") return "";
  const value = Number(trimmed);
  if (!Number.isFinite(value) || value < field.least || value > field.most) return null;
  if (field.step === 1 && !Number.isInteger(value)) return null;
  return String(Number((value / (field.scale ?? 1)).toPrecision(10)));
}

/** Two significant digits, as contracts declare sizes: an exact count would be a statement about records. */
export function twoDigits(records: number): boolean {
  return String(records).replace(/0+$/, "").length <= 2;
}

/** The slider's way through epsilon: equal steps are equal factors. */
export const SLIDER = { least: 0.1, most: 16, steps: 200 } as const;

export function toSlider(epsilon: number): number {
  const share = Math.log(epsilon / SLIDER.least) / Math.log(SLIDER.most / SLIDER.least);
  return Math.round(SLIDER.steps * Math.min(1, Math.max(0, share)));
}

export function fromSlider(position: number): number {
  const epsilon = SLIDER.least * (SLIDER.most / SLIDER.least) ** (position / SLIDER.steps);
  return Number(epsilon.toPrecision(2));
}

/** The epsilon of the curve that is nearest, on the slider's scale. */
export function nearestOf(epsilons: readonly number[], epsilon: number): number {
  const distance = (candidate: number) => Math.abs(Math.log(candidate / epsilon));
  return epsilons.reduce((best, candidate) => (distance(candidate) < distance(best) ? candidate : best));
}

type Outlook = PlanAnswer["forecast"]["table"][number];

/** The run that was asked for and those beside it, each epsilon once, in order. */
export function outlooks(answer: PlanAnswer, only?: readonly number[]): Outlook[] {
  const { forecast } = answer;
  const others = forecast.table.filter(
    ({ plan }) => plan.epsilon !== forecast.plan.epsilon && (!only || only.includes(plan.epsilon)),
  );
  return [...others, forecast].sort((a, b) => a.plan.epsilon - b.plan.epsilon);
}
