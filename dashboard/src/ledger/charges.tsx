import { useInfiniteQuery } from "@tanstack/react-query";

import type { Charge } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import { RunMark } from "../frame/run-mark";
import { STATE_WORDS } from "../run/words";
import { Card } from "../ui/card";
import { CheckIcon, CrossIcon, InfoIcon, WaitingIcon, WarningIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { chargesQuery } from "./queries";
import { Mark } from "./status";
import { outcomeWords, stepWords } from "./words";

interface ChargesProps {
  site: string | null;
  dataset: string | null;
  /** There is more than one data set. */
  several: boolean;
}

/** What each run cost each site, newest first. */
export function Charges({ site, dataset, several }: ChargesProps) {
  const query = useInfiniteQuery(chargesQuery(site, dataset));
  const charges = query.data?.pages.flatMap((page) => page.charges) ?? [];
  return (
    <Card
      className="charges"
      title={site === null ? "Charges" : `Charges of ${site}`}
      note="One line for each run and site, newest first. A plan that was declined cost nothing"
    >
      <div className="table-scroll" role="region" aria-label="Charges, table" tabIndex={0}>
        <table className="charges-table" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">
                Run
              </th>
              <th role="columnheader" scope="col">
                Site
              </th>
              <th role="columnheader" scope="col" className="number">
                ε of the run
              </th>
              <th role="columnheader" scope="col" className="number">
                Lifetime ε after
              </th>
              <th role="columnheader" scope="col" className="number">
                Rounds
              </th>
              <th role="columnheader" scope="col" className="number">
                Held out
              </th>
              <th role="columnheader" scope="col">
                What came of it
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {charges.map((charge, index) => (
              <Row
                key={`${charge.run_id}/${charge.site}`}
                charge={charge}
                several={several}
                again={charges[index - 1]?.run_id === charge.run_id}
              />
            ))}
          </tbody>
        </table>
      </div>
      {query.hasNextPage && (
        <button
          type="button"
          className="button small show-all"
          disabled={query.isFetchingNextPage}
          onClick={() => {
            void query.fetchNextPage();
          }}
        >
          {query.isFetchingNextPage ? "Reading" : "Show older charges"}
        </button>
      )}
    </Card>
  );
}

/** `again`: the row above is of the same run, which need not be named to the eye once more. */
function Row({ charge, several, again }: { charge: Charge; several: boolean; again: boolean }) {
  return (
    <tr role="row" className={again ? "again" : undefined}>
      <th role="rowheader" scope="row" className="run-of">
        {again ? (
          <span className="sr-only">
            {charge.name}, {utcMinute(charge.at)}
          </span>
        ) : (
          <ViewLink view={to("run", { run: charge.run_id })}>
            <RunMark state={charge.state} />
            <span>
              {charge.name}
              <small>
                <span className="sr-only">{STATE_WORDS[charge.state]}, </span>
                <time dateTime={charge.at} title={local(charge.at)}>
                  {utcMinute(charge.at)}
                </time>
              </small>
            </span>
          </ViewLink>
        )}
      </th>
      <td role="cell" className="site-of">
        {charge.site}
        {several && <small>{charge.dataset}</small>}
      </td>
      <td role="cell" className="number" data-label="ε of the run">
        {charge.outcome === "joined" && charge.epsilon_run !== null
          ? format.spent(charge.epsilon_run)
          : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="number" data-label="Lifetime ε after">
        {charge.epsilon_after === null ? format.NOT_APPLICABLE : format.spent(charge.epsilon_after)}
      </td>
      <td role="cell" className="number" data-label="Rounds">
        {charge.outcome === "joined" ? charge.rounds : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="number" data-label="Held out">
        {charge.evaluations > 0 ? `ε ${format.spent(charge.epsilon_evaluations)}` : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="outcome">
        <Outcome charge={charge} />
      </td>
    </tr>
  );
}

function Outcome({ charge }: { charge: Charge }) {
  const step = stepWords(charge);
  const look =
    charge.outcome === "declined"
      ? { icon: <CrossIcon />, tone: "limit" }
      : charge.outcome === "waiting"
        ? { icon: <WaitingIcon />, tone: "muted" }
        : charge.code !== null || charge.missed > 0 || charge.late > 0
          ? { icon: <WarningIcon />, tone: "warning" }
          : { icon: <CheckIcon />, tone: "ok" };
  return (
    <>
      <Mark look={look}>{outcomeWords(charge)}</Mark>
      {step !== null && (
        <p className="step">
          <InfoIcon />
          {step}
        </p>
      )}
    </>
  );
}
