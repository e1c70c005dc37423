import { useState, type ReactNode } from "react";

import { to, type View } from "../api/view";
import type { RunDetail, RunPrivacy, SitePrivacy, SiteStatus } from "../api/types";
import * as format from "../format/numbers";
import { Card } from "../ui/card";
import { CheckIcon, CrossIcon, OfflineIcon, StopIcon, WaitingIcon, WarningIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { budgetOf, byShare } from "./budget";
import { Meter } from "./meter";
import { statusWords } from "./words";

const STATUS_LOOK: Record<SiteStatus, { icon: ReactNode; tone: string }> = {
  within_budget: { icon: <CheckIcon />, tone: "ok" },
  near_limit: { icon: <WarningIcon />, tone: "warning" },
  at_limit: { icon: <StopIcon />, tone: "limit" },
  refused: { icon: <CrossIcon />, tone: "limit" },
  offline: { icon: <OfflineIcon />, tone: "warning" },
  waiting: { icon: <WaitingIcon />, tone: "muted" },
};

/** More rows than this wait behind a button. Roles are spelled out: on narrow screens each row is laid out as a grid,
 * and browsers then forget that it is one of a table. */
const FIRST_ROWS = 12;

export function SitesTable({ run, privacy, view }: { run: RunDetail; privacy: RunPrivacy; view: View }) {
  const [all, setAll] = useState(false);
  const sites = byShare(privacy.sites);
  const rows = all ? sites : sites.slice(0, FIRST_ROWS);
  return (
    <Card
      className="sites"
      title="Privacy budget by site"
      note="Each site sets its own lifetime limit and stops before it is passed. Choose a site to see it in the charts."
      action={
        <ViewLink
          className="button small"
          view={to("ledger", { dataset: run.dataset, site: view.query.site })}
        >
          All runs<span className="sr-only"> in the privacy ledger</span>
        </ViewLink>
      }
    >
      <div className="table-scroll" role="region" aria-label="Privacy budget by site, table" tabIndex={0}>
        <table className="sites-table" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">
                Site
              </th>
              <th role="columnheader" scope="col" className="wide">
                Share of limit
              </th>
              <th role="columnheader" scope="col" className="number">
                ε spent / limit
              </th>
              <th role="columnheader" scope="col" className="number">
                This run
              </th>
              <th role="columnheader" scope="col" className="number">
                Runs left
              </th>
              <th role="columnheader" scope="col">
                Status
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {rows.map((site) => (
              <Row key={site.site} run={run} site={site} view={view} />
            ))}
            {rows.length === 0 && (
              <tr role="row">
                <td role="cell" colSpan={6} className="nothing">
                  No site has joined yet; the run waits for {format.plural(run.sites, "site")}.
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </div>
      {sites.length > FIRST_ROWS && (
        <button
          type="button"
          className="button small show-all"
          aria-expanded={all}
          onClick={() => {
            setAll(!all);
          }}
        >
          {all ? `Show the first ${FIRST_ROWS}` : `Show all ${sites.length} sites`}
        </button>
      )}
    </Card>
  );
}

function Row({ run, site, view }: { run: RunDetail; site: SitePrivacy; view: View }) {
  const budget = budgetOf(site);
  const chosen = view.query.site === site.site;
  const { icon, tone } = STATUS_LOOK[site.status];
  const target = to("run", { ...view.query, site: chosen ? null : site.site });
  const here = site.epsilon_run.at(-1);
  return (
    <tr role="row" className={chosen ? "chosen" : undefined}>
      <th role="rowheader" scope="row">
        <ViewLink view={target} current={chosen} replace>
          {site.site}
        </ViewLink>
      </th>
      <td role="cell" className="wide">
        {budget ? <Meter budget={budget} /> : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="number" data-label="ε spent">
        {budget ? (
          <>
            {format.spent(budget.spent)}
            <span className="of"> / {format.limit(budget.limit)}</span>
          </>
        ) : (
          format.NOT_APPLICABLE
        )}
      </td>
      <td role="cell" className="number" data-label="This run">
        {here === undefined ? (
          format.NOT_APPLICABLE
        ) : (
          <>
            {format.spent(here)}
            <span className="of"> / {format.limit(run.epsilon_target)}</span>
          </>
        )}
      </td>
      <td role="cell" className="number" data-label="Runs left">
        {budget?.runsLeft ?? format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="state">
        <span className={`status tone-${tone}`}>
          {icon}
          {run.waiting.some((waiting) => waiting.site === site.site && waiting.awaiting_approval)
            ? "Awaits approval there"
            : statusWords(site)}
        </span>
      </td>
    </tr>
  );
}
