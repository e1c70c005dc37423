import type { PlanAnswer } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { Card } from "../ui/card";
import { ViewLink } from "../ui/view-link";
import { lost } from "./outlook";
import { changed, outlooks, TABLE, type Query } from "./question";

/** The same run at other epsilons; each row is a link to its plan. */
export function Alternatives({ answer, query }: { answer: PlanAnswer; query: Query }) {
  const rows = outlooks(answer, TABLE);
  const chosen = answer.forecast.plan.epsilon;
  const columns = [
    { name: "Noise σ", detail: true },
    { name: "Rounds", detail: true },
    { name: "Points lost", detail: false },
    { name: "Lifetime ε after", detail: true },
    { name: "Such runs", detail: false },
  ];
  return (
    <Card
      className="alternatives"
      title="The same run at other ε"
      note="Choose a row to plan it. Lifetime ε is composed with what was spent before, not added to it."
    >
      <div className="table-scroll" role="region" aria-label="The same run at other ε, table" tabIndex={0}>
        <table className="plan-table">
          <thead>
            <tr>
              <th scope="col">ε</th>
              {columns.map(({ name, detail }) => (
                <th key={name} scope="col" className={detail ? "number detail" : "number"}>
                  {name}
                </th>
              ))}
              <th scope="col">Budget</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ plan, utility, cost }) => (
              <tr key={plan.epsilon} className={plan.epsilon === chosen ? "chosen" : undefined}>
                <th scope="row">
                  <ViewLink
                    view={to("plan", changed(query, { epsilon: String(plan.epsilon) }))}
                    current={plan.epsilon === chosen}
                    replace
                  >
                    {format.limit(plan.epsilon)}
                  </ViewLink>
                </th>
                <td className="number detail">
                  {format.constant(Number(plan.train.noise_multiplier.toPrecision(3)))}
                </td>
                <td className="number detail">{plan.train.rounds}</td>
                <td className="number">
                  {utility ? (
                    <>
                      {lost(utility.loss.expected)}{" "}
                      <span className="of">
                        ({lost(utility.loss.low)} to {lost(utility.loss.high)})
                      </span>
                    </>
                  ) : (
                    format.NOT_APPLICABLE
                  )}
                </td>
                <td className="number detail">{format.spent(cost.after)}</td>
                <td className="number">
                  {cost.fits ? cost.runs_that_fit.toLocaleString("en") : format.NOT_APPLICABLE}
                </td>
                <td>{cost.fits ? "fits" : <span className="attention">does not fit</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
