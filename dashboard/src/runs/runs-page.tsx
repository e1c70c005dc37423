import { useQuery } from "@tanstack/react-query";

import { ApiError } from "../api/client";
import { runPageQuery, runsQuery } from "../api/queries";
import type { RunPage, RunState, RunSummary } from "../api/types";
import { navigate, to, type View } from "../api/view";
import { chosen, MOST, slotsIn, spelled, toggled } from "../compare/slots";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import type { PageProps } from "../pages";
import { STATE_WORDS } from "../run/words";
import { Message, NoRuns, ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { Card } from "../ui/card";
import { ChartIcon } from "../ui/icons";
import { ViewHeader } from "../ui/view-header";
import { ViewLink } from "../ui/view-link";
import { AccuracyFigure, EpsilonFigure, LifetimeFigure, StateFigure } from "./figures";

const STATES = Object.keys(STATE_WORDS) as RunState[];

/** Every run, newest first, to open or to compare. */
export function RunsPage({ view, live, storageSince }: PageProps) {
  const { state, dataset, cursor } = view.query;
  const page = useQuery(runPageQuery({ state, dataset, cursor }));
  const newest = useQuery(runsQuery());
  const datasets = [
    ...new Set([...(newest.data?.runs.map((run) => run.dataset) ?? []), ...(dataset ? [dataset] : [])]),
  ].sort();
  const narrowed = Boolean(state ?? dataset ?? cursor);
  return (
    <>
      <ViewHeader title="Runs" note="Every training run, newest first. Mark two to six of them to compare">
        <Filter view={view} datasets={datasets} />
      </ViewHeader>
      {page.data ? (
        <div className="run">
          <StaleBanner live={live} storageSince={storageSince} failure={page.error?.message ?? null} />
          {page.data.runs.length > 0 ? (
            <List page={page.data} view={view} />
          ) : narrowed ? (
            <Nothing view={view} />
          ) : (
            <NoRuns />
          )}
        </div>
      ) : page.error ? (
        page.error instanceof ApiError && page.error.final ? (
          <Nothing view={view} why={page.error.message} />
        ) : (
          <ReadFailed error={page.error} onRetry={live.retry} />
        )
      ) : (
        <div className="card" aria-busy="true">
          <p className="sr-only" role="status">
            Loading the runs
          </p>
          <div className="bone block" style={{ blockSize: "70vh" }} aria-hidden="true" />
        </div>
      )}
    </>
  );
}

function Filter({ view, datasets }: { view: View; datasets: readonly string[] }) {
  const { state = "", dataset = "", chosen: marked } = view.query;
  const go = (query: Record<string, string>) => {
    navigate(to("runs", { state, dataset, chosen: marked, ...query }));
  };
  return (
    <>
      <label className="choice">
        <span>State</span>
        <select
          value={state}
          onChange={(event) => {
            go({ state: event.target.value });
          }}
        >
          <option value="">All</option>
          {STATES.map((name) => (
            <option key={name} value={name}>
              {STATE_WORDS[name]}
            </option>
          ))}
        </select>
      </label>
      <label className="choice">
        <span>Data set</span>
        <select
          value={dataset}
          onChange={(event) => {
            go({ dataset: event.target.value });
          }}
        >
          <option value="">All</option>
          {datasets.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
    </>
  );
}

function Nothing({ view, why }: { view: View; why?: string }) {
  return (
    <Message icon={<ChartIcon />} tone="global" title="No run matches">
      <p>{why ?? "There is no run in this state, on this data set, as far back as this page goes."}</p>
      <ViewLink className="button primary" view={to("runs", { chosen: view.query.chosen })}>
        Show all runs
      </ViewLink>
    </Message>
  );
}

function List({ page, view }: { page: RunPage; view: View }) {
  const slots = slotsIn(view.query.chosen);
  const marked = chosen(slots);
  const paged = view.query.cursor !== undefined;
  return (
    <Card
      title="All runs"
      note="ε is at the site where it is largest; a record loses no more than that"
      className="runs-card"
    >
      <div className="table-scroll" role="region" aria-label="Runs, table" tabIndex={0}>
        <table className="runs-table" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th scope="col" role="columnheader">
                <span className="sr-only">Compare</span>
              </th>
              <th scope="col" role="columnheader">
                Run
              </th>
              <th scope="col" role="columnheader">
                State
              </th>
              <th scope="col" role="columnheader" className="number">
                Accuracy
              </th>
              <th scope="col" role="columnheader" className="number">
                ε of the run
              </th>
              <th scope="col" role="columnheader" className="number">
                Lifetime used
              </th>
              <th scope="col" role="columnheader" className="number">
                Round
              </th>
              <th scope="col" role="columnheader" className="number">
                Took
              </th>
              <th scope="col" role="columnheader">
                Begun
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {page.runs.map((run) => (
              <Row
                key={run.run_id}
                run={run}
                marked={marked.includes(run.run_id)}
                full={marked.length >= MOST}
                onMark={() => {
                  navigate(to("runs", { ...view.query, chosen: spelled(toggled(slots, run.run_id)) }), true);
                }}
              />
            ))}
          </tbody>
        </table>
      </div>
      <footer className="runs-foot">
        <p className="note" role="status">
          {marked.length === 0 ? "None marked" : `${marked.length} of at most ${MOST} marked`}
        </p>
        {marked.length >= 2 && (
          <ViewLink className="button primary small" view={to("compare", { runs: spelled(slots) })}>
            Compare {marked.length} runs
          </ViewLink>
        )}
        {marked.length > 0 && (
          <ViewLink className="button small" view={to("runs", { ...view.query, chosen: null })} replace>
            Clear
          </ViewLink>
        )}
        <span className="runs-pages">
          {paged && (
            <ViewLink className="button small" view={to("runs", { ...view.query, cursor: null })}>
              Newest
            </ViewLink>
          )}
          {page.next_cursor !== null && (
            <ViewLink className="button small" view={to("runs", { ...view.query, cursor: page.next_cursor })}>
              Older
            </ViewLink>
          )}
        </span>
      </footer>
    </Card>
  );
}

interface RowProps {
  run: RunSummary;
  marked: boolean;
  full: boolean;
  onMark: () => void;
}

function Row({ run, marked, full, onMark }: RowProps) {
  const begun = utcMinute(run.created_at);
  return (
    <tr className={marked ? "chosen" : undefined} role="row">
      <td role="cell" className="mark">
        <label>
          <input type="checkbox" checked={marked} disabled={full && !marked} onChange={onMark} />
          <span className="sr-only">
            Compare {run.name} of {begun}
          </span>
        </label>
      </td>
      <th scope="row" role="rowheader">
        <ViewLink className="named" view={to("run", { run: run.run_id })}>
          {run.name}
        </ViewLink>
        <small className="under">{run.dataset}</small>
      </th>
      <td role="cell" data-label="State">
        <StateFigure run={run} />
      </td>
      <td role="cell" data-label="Accuracy" className="number">
        <AccuracyFigure run={run} />
      </td>
      <td role="cell" data-label="ε of the run" className="number">
        <EpsilonFigure run={run} />
      </td>
      <td role="cell" data-label="Lifetime used" className="number">
        <LifetimeFigure run={run} />
      </td>
      <td role="cell" data-label="Round" className="number">
        {run.round}
        <span className="of"> / {run.rounds}</span>
      </td>
      <td role="cell" data-label="Took" className="number">
        {run.duration_s === null ? format.NOT_APPLICABLE : format.seconds(run.duration_s)}
      </td>
      <td role="cell" data-label="Begun">
        <time dateTime={run.created_at} title={local(run.created_at)}>
          {begun}
        </time>
      </td>
    </tr>
  );
}
