import { useQuery } from "@tanstack/react-query";

import type { SiteSummary } from "../api/types";
import { to, type View } from "../api/view";
import { useNow } from "../frame/use-now";
import { ago, local, utcMinute } from "../format/time";
import * as format from "../format/numbers";
import { sitesQuery } from "../ledger/queries";
import { OnlySite } from "../ledger/states";
import { BudgetMark, StandingMark } from "../ledger/status";
import type { PageProps } from "../pages";
import { Message, ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { Card } from "../ui/card";
import { SitesIcon } from "../ui/icons";
import { ViewHeader } from "../ui/view-header";
import { ViewLink } from "../ui/view-link";
import { adviceFor } from "./advice";
import { byNeed } from "./order";
import { SiteDetails } from "./site-details";
import { SitesSkeleton } from "./skeleton";

/** Who takes part, how each stands, and what there is to do. */
export function SitesPage({ view, live, storageSince }: PageProps) {
  const sites = useQuery(sitesQuery());
  const header = <ViewHeader title="Sites" note="Who takes part, how each stands, and what there is to do" />;
  if (!sites.data) {
    return (
      <>
        {header}
        {sites.error ? <ReadFailed error={sites.error} onRetry={live.retry} /> : <SitesSkeleton />}
      </>
    );
  }
  const sorted = sites.data.sites.toSorted(byNeed);
  const chosen = view.query.site ?? null;
  return (
    <>
      {header}
      <div className="run">
        <StaleBanner live={live} storageSince={storageSince} failure={sites.error?.message ?? null} />
        <OnlySite site={sites.data.only_site} />
        {sorted.length === 0 ? (
          <NoSites />
        ) : (
          <>
            <SitesCard sites={sorted} view={view} more={sites.data.next_cursor !== null} />
            {chosen !== null && <SiteDetails key={chosen} site={chosen} onRetry={live.retry} />}
          </>
        )}
      </div>
    </>
  );
}

function NoSites() {
  return (
    <Message icon={<SitesIcon />} tone="global" title="No site has taken part yet">
      <p>A site shows up here with the first run that it is asked to join.</p>
      <dl className="commands">
        <dt>Start one on a server that is up</dt>
        <dd>
          <code>fedpriv run --follow</code>
        </dd>
        <dt>Or all of it on this machine, with three sites</dt>
        <dd>
          <code>make demo</code>
        </dd>
      </dl>
    </Message>
  );
}

interface SitesCardProps {
  sites: readonly SiteSummary[];
  view: View;
  /** The API has more than it gave. */
  more: boolean;
}

function SitesCard({ sites, view, more }: SitesCardProps) {
  const needing = sites.filter((site) => adviceFor(site).length > 0).length;
  return (
    <Card
      className="sites-list"
      title={format.plural(sites.length, "site")}
      note={
        needing === 0
          ? "Nothing needs anybody’s attention. Choose a site for its budgets, runs and events."
          : `${needing} ${needing === 1 ? "needs" : "need"} attention. Choose a site for what to do, its budgets, runs and events.`
      }
    >
      <div className="table-scroll" role="region" aria-label="Sites, table" tabIndex={0}>
        <table className="standings-table" role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">
                Site
              </th>
              <th role="columnheader" scope="col">
                How it stands
              </th>
              <th role="columnheader" scope="col">
                Budget
              </th>
              <th role="columnheader" scope="col">
                Last heard
              </th>
              <th role="columnheader" scope="col" className="number">
                Runs joined
              </th>
              <th role="columnheader" scope="col" className="number">
                Declined
              </th>
              <th role="columnheader" scope="col" className="number">
                Rounds missed
              </th>
              <th role="columnheader" scope="col" className="number">
                Late replies
              </th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {sites.map((site) => (
              <Row key={site.site} site={site} view={view} />
            ))}
          </tbody>
        </table>
      </div>
      {more && (
        <p className="nothing">
          These are the first {sites.length} by name; the API gives the others (/v1/sites, cursor).
        </p>
      )}
    </Card>
  );
}

function Row({ site, view }: { site: SiteSummary; view: View }) {
  const chosen = view.query.site === site.site;
  return (
    <tr role="row" className={chosen ? "chosen" : undefined}>
      <th role="rowheader" scope="row">
        <ViewLink view={to("sites", { site: chosen ? null : site.site })} current={chosen} replace>
          {site.site}
        </ViewLink>
      </th>
      <td role="cell" className="standing">
        <StandingMark site={site} />
        {site.since !== null && (
          <small>
            since{" "}
            <time dateTime={site.since} title={local(site.since)}>
              {utcMinute(site.since)}
            </time>
          </small>
        )}
      </td>
      <td role="cell" className="budget" data-label="Budget">
        <BudgetMark status={site.budget} />
      </td>
      <td role="cell" className="heard" data-label="Last heard">
        {site.last_heard === null ? "never" : <Ago iso={site.last_heard} />}
      </td>
      <td role="cell" className="number" data-label="Runs joined">
        {site.joined}
      </td>
      <td role="cell" className="number" data-label="Declined">
        {site.declined}
      </td>
      <td role="cell" className="number" data-label="Rounds missed">
        {site.missed}
      </td>
      <td role="cell" className="number" data-label="Late replies">
        {site.late}
      </td>
    </tr>
  );
}

export function Ago({ iso }: { iso: string }) {
  const now = useNow();
  return (
    <time dateTime={iso} title={local(iso)}>
      {ago(now - Date.parse(iso))}
    </time>
  );
}
