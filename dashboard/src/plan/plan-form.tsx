import { useEffect, useId, useRef, useState } from "react";

import type { PlanAnswer } from "../api/types";
import { navigate, to } from "../api/view";
import * as format from "../format/numbers";
import { Card } from "../ui/card";
import { ViewLink } from "../ui/view-link";
import { NumberField } from "./number-field";
import {
  ACCEPTABLE,
  CEILING,
  changed,
  DELTA,
  EPSILON,
  EVALUATIONS,
  fromSlider,
  LIMIT,
  RECORDS,
  ROUNDS,
  SITES,
  SLIDER,
  SPENT,
  toSlider,
  twoDigits,
  typed,
  type Field,
  type Query,
} from "./question";

/** Typing is not asked about letter by letter. */
const DEBOUNCE_MS = 250;

interface PlanFormProps {
  query: Query;
  /** The last answer, whatever it was of; null before the first. */
  answer: PlanAnswer | null;
  /** Why the API does not take a parameter, by its name. */
  faults: Readonly<Record<string, string>>;
}

/** What is asked. Everything here is in the address, so a plan is a link. */
export function PlanForm({ query: address, answer, faults }: PlanFormProps) {
  const [query, change] = useDraft(address);
  const slider = useId();
  const epsilon = Number(typed(EPSILON, query));
  const mlp = query.recipe === "fedavg-mlp";
  const number = (field: Field, more?: { placeholder?: string; hint?: string }) => (
    <NumberField
      field={field}
      value={typed(field, query)}
      fault={faults[field.name] ?? null}
      onChange={(value) => {
        change({ [field.name]: value });
      }}
      {...more}
    />
  );
  return (
    <Card className="plan-form" title="The run" note="Declared and public values only. Nothing is spent.">
      <form
        className="fields"
        aria-label="The run to plan"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <div className="field-pair">
          {number(EPSILON)}
          <div className="field">
            <label htmlFor={slider} className="sr-only">
              ε by slider
            </label>
            <input
              id={slider}
              type="range"
              min={0}
              max={SLIDER.steps}
              value={Number.isFinite(epsilon) && epsilon > 0 ? toSlider(epsilon) : 0}
              aria-valuetext={`ε ${typed(EPSILON, query)}`}
              onChange={(event) => {
                change({ epsilon: String(fromSlider(Number(event.currentTarget.value))) });
              }}
            />
            <p className="slider-ends" aria-hidden="true">
              <span>{SLIDER.least}, more private</span>
              <span>{SLIDER.most}</span>
            </p>
          </div>
        </div>
        <div className="field-row">
          {number(SITES)}
          <NumberField
            field={RECORDS}
            value={typed(RECORDS, query)}
            placeholder={answer ? String(answer.contract.records) : ""}
            hint={query.records ? "What if there were so many" : "As declared"}
            fault={faults.records ?? null}
            check={(value) => (twoDigits(value) ? null : "At most two significant digits, as 1200.")}
            onChange={(value) => {
              change({ records: value });
            }}
          />
        </div>
        <DataSet query={query} answer={answer} change={change} />
        <Before query={query} answer={answer} change={change} />
        {query.spent !== undefined && number(SPENT)}
        <div className="field-row">
          {number(ACCEPTABLE)}
          {number(CEILING, { hint: "Without privacy, if known" })}
        </div>
        <details open={[ROUNDS, EVALUATIONS, LIMIT, DELTA].some(({ name }) => query[name]) || mlp}>
          <summary>More settings</summary>
          <Choice
            label="Recipe"
            value={query.recipe ?? "fedsgd-logreg"}
            options={[
              ["fedsgd-logreg", "DP-FedSGD, logistic regression"],
              ["fedavg-mlp", "DP-FedAvg, MLP"],
            ]}
            onChange={(value) => {
              change({ recipe: value });
            }}
          />
          <div className="field-row">
            {number(ROUNDS, { placeholder: answer ? String(answer.forecast.plan.train.rounds) : "" })}
            {number(DELTA)}
          </div>
          <div className="field-row">
            {number(LIMIT, { placeholder: answer ? format.limit(answer.forecast.cost.limit) : "" })}
            {number(EVALUATIONS, { hint: "On held-out records" })}
          </div>
        </details>
        <p className="form-foot">
          <ViewLink className="button small" view={to("plan")}>
            Start from the defaults
          </ViewLink>
        </p>
      </form>
    </Card>
  );
}

type Change = (changes: Query) => void;

/** What stands in the form, and how it changes: at once here, in the address when no further change has come for a
 * moment. */
function useDraft(query: Query): [Query, Change] {
  const [draft, setDraft] = useState<Query>({});
  const latest = useRef({ query, draft });
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    latest.current = { query, draft };
  });
  useEffect(
    () => () => {
      clearTimeout(timer.current);
    },
    [],
  );
  function change(changes: Query) {
    setDraft((before) => ({ ...before, ...changes }));
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const now = latest.current;
      setDraft({});
      navigate(to("plan", changed(now.query, now.draft)), true);
    }, DEBOUNCE_MS);
  }
  return [changed({ ...query, ...draft }, {}), change];
}

interface PartProps {
  query: Query;
  answer: PlanAnswer | null;
  change: Change;
}

/** Which contract; not asked where there is one only. */
function DataSet({ query, answer, change }: PartProps) {
  const known = answer?.contracts ?? [];
  if (known.length < 2 && query.contract === undefined) return null;
  const options = known.map(({ dataset }): [string, string] => [dataset, dataset]);
  const chosen = query.contract ?? answer?.contract.dataset ?? "";
  if (!options.some(([value]) => value === chosen)) options.push([chosen, chosen]);
  return (
    <Choice
      label="Data contract"
      value={chosen}
      options={options}
      onChange={(value) => {
        change({ contract: value, site: "", records: "" });
      }}
    />
  );
}

/** What was spent before: nothing, what a site told, or an epsilon that is known from elsewhere. */
function Before({ query, answer, change }: PartProps) {
  const sites = answer?.sites ?? [];
  const options: [string, string][] = [
    ["", "Nothing spent before"],
    ...sites.map(({ site, epsilon_spent: spent }): [string, string] => [
      `site:${site}`,
      `${site}: ε ${format.spent(spent)} spent`,
    ]),
    ["spent", "Another ε"],
  ];
  const chosen = query.site ? `site:${query.site}` : query.spent === undefined ? "" : "spent";
  if (query.site && !options.some(([value]) => value === chosen)) options.push([chosen, query.site]);
  return (
    <Choice
      label="Budget to plan against"
      value={chosen}
      options={options}
      onChange={(value) => {
        change(
          value.startsWith("site:")
            ? { site: value.slice(5), spent: "" }
            : { site: "", spent: value === "spent" ? "1" : "" },
        );
      }}
    />
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string) => void;
}

function Choice({ label, value, options, onChange }: ChoiceProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={value}
        onChange={(event) => {
          onChange(event.currentTarget.value);
        }}
      >
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
