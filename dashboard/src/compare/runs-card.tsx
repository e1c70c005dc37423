import { to, type View } from "../api/view";
import { LookKey } from "../charts/marks";
import { local, utcMinute } from "../format/time";
import * as format from "../format/numbers";
import { AccuracyFigure, EpsilonFigure, LifetimeFigure, StateFigure } from "../runs/figures";
import { Card } from "../ui/card";
import { CrossIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import type { Compared } from "./charts";
import { spelled, toggled } from "./slots";

interface RunsCardProps {
  compared: readonly Compared[];
  slots: readonly (string | null)[];
  view: View;
}

/** The runs by their looks, and what each came to: the charts' legend. */
export function RunsCard({ compared, slots, view }: RunsCardProps) {
  return (
    <Card title="Runs" note="Each keeps its letter, colour, dash and shape in every chart">
      <div className="table-scroll" role="region" aria-label="Runs, table" tabIndex={0}>
        <table className="runs-table">
          <thead>
            <tr>
              <th scope="col">Run</th>
              <th scope="col">State</th>
              <th scope="col" className="number">
                Accuracy
              </th>
              <th scope="col" className="number">
                ε of the run
              </th>
              <th scope="col" className="number">
                Lifetime used
              </th>
              <th scope="col" className="number">
                Round
              </th>
              <th scope="col">Begun</th>
              <th scope="col">
                <span className="sr-only">Take out</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {compared.map(({ run, look, letter }) => (
              <tr key={run.run_id}>
                <th scope="row">
                  <span className="compared-name">
                    <LookKey look={look} />
                    <b>{letter}</b>
                    <ViewLink view={to("run", { run: run.run_id })} className="named">
                      {run.name}
                    </ViewLink>
                  </span>
                </th>
                <td>
                  <StateFigure run={run} />
                </td>
                <td className="number">
                  <AccuracyFigure run={run} publicSet={run.public_validation !== null} />
                </td>
                <td className="number">
                  <EpsilonFigure run={run} />
                </td>
                <td className="number">
                  <LifetimeFigure run={run} />
                </td>
                <td className="number">
                  {run.round}
                  <span className="of"> / {run.rounds}</span>
                </td>
                <td>
                  <time dateTime={run.created_at} title={local(run.created_at)}>
                    {utcMinute(run.created_at)}
                  </time>
                  {run.duration_s !== null && (
                    <small className="under">{format.seconds(run.duration_s)}</small>
                  )}
                </td>
                <td>
                  <ViewLink
                    className="icon-button"
                    view={to("compare", { ...view.query, runs: spelled(toggled(slots, run.run_id)) })}
                  >
                    <CrossIcon />
                    <span className="sr-only">
                      Take {letter}, {run.name}, out
                    </span>
                  </ViewLink>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
