/** The answer in five figures, and the word on whether the budgets can pay it. */
import type { PlanAnswer } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { Cell } from "../run/strip";
import { listed } from "../run/budget";
import { Banner } from "../states/banner";
import { ViewLink } from "../ui/view-link";
import { changed, type Query } from "./question";

/** Accuracy as lost, in points, without a sign: "2.3". */
export function lost(fraction: number): string {
  return (100 * fraction).toFixed(1);
}

export function PlanStrip({ answer }: { answer: PlanAnswer }) {
  const { forecast } = answer;
  const { plan, utility, cost } = forecast;
  const left = cost.limit - cost.after;
  return (
    <dl className="card strip">
      <Cell
        name="Expected loss of accuracy"
        value={utility ? lost(utility.loss.expected) : format.NOT_APPLICABLE}
        of={utility ? "points" : undefined}
        note={
          utility
            ? `${lost(utility.loss.low)} to ${lost(utility.loss.high)} in the mean over runs` +
              (utility.accuracy
                ? `: ${format.percentRange(utility.accuracy[0], utility.accuracy[1])} accurate`
                : "")
            : "Not foretold for this recipe, unit or table"
        }
        second={
          utility
            ? `One run in ten loses more than ${lost(utility.loss.one_in_ten)}`
            : "Try it on public data of this kind"
        }
        attention={!utility}
      />
      <Cell
        name="Noise of each step"
        value={`σ ${format.constant(Number(plan.train.noise_multiplier.toPrecision(3)))}`}
        note={`${format.plural(plan.train.rounds, "round")} ${
          plan.train.sample_rate === 1
            ? "over every record"
            : `on samples of ${format.constant(Number((100 * plan.train.sample_rate).toPrecision(2)))} %`
        }`}
        second={`ε ${format.limit(plan.epsilon)}, δ ${format.delta(plan.delta)} per ${plan.unit}`}
      />
      <Cell
        name={answer.history.site ? `Lifetime at ${answer.history.site}` : "Lifetime budget"}
        value={`ε ${format.spent(cost.after)}`}
        of={`of ${format.limit(cost.limit)}`}
        note={`ε ${format.spent(cost.spent)} spent before`}
        second={
          cost.fits
            ? `ε ${format.remaining(left)} left, ${runs(cost.runs_that_fit - 1)} more`
            : "The limit would be passed"
        }
        attention={!cost.fits}
        progress={Math.min(1, cost.after / cost.limit)}
      />
      <Cell
        name="Records it would take"
        value={utility ? utility.records_needed.toLocaleString("en") : format.NOT_APPLICABLE}
        note={
          utility
            ? `To lose ${lost(utility.acceptable_loss)} points or less`
            : "Known where a loss is foretold"
        }
        second={`${plan.nominal_size.toLocaleString("en")} ${plan.unit}s planned, over all sites`}
      />
    </dl>
  );
}

function runs(count: number): string {
  return count >= 9998 ? "9,999 or more such runs" : format.plural(Math.max(0, count), "such run");
}

/** Fits or not, and if not, what does. */
export function Verdict({ answer, query }: { answer: PlanAnswer; query: Query }) {
  const { forecast, refusal, sites } = answer;
  const short = sites.filter(({ fits }) => !fits).map(({ site }) => site);
  const largest = forecast.largest_epsilon;
  if (refusal) {
    return (
      <Banner
        kind="problem"
        title="The budget cannot pay this run."
        action={
          largest > 0 && (
            <ViewLink
              className="button small"
              view={to("plan", changed(query, { epsilon: String(largest) }))}
            >
              Plan ε {String(largest)}
            </ViewLink>
          )
        }
      >
        {refusal.message}{" "}
        {largest > 0
          ? `The largest run of this kind that fits, once, is ε ${String(largest)}.`
          : "Nothing is left for another run; only the site can raise its limit."}
      </Banner>
    );
  }
  if (short.length > 0) {
    const [first = ""] = short;
    return (
      <Banner
        kind="warning"
        title={`${listed(short)} cannot pay this run.`}
        action={
          <ViewLink className="button small" view={to("plan", changed(query, { site: first, spent: "" }))}>
            Plan against {first}
          </ViewLink>
        }
      >
        {answer.history.site ?? (forecast.cost.spent > 0 ? "The budget that was typed" : "A fresh data set")}{" "}
        could; of several sites, the one with least left decides.
      </Banner>
    );
  }
  return (
    <Banner kind="info" title="The budget can pay this run.">
      {sites.length > 0 ? "Every site that has told of this data set can, too. " : ""}
      The largest single run that fits is ε {String(largest)}. Each site decides for itself when the run asks.
    </Banner>
  );
}
