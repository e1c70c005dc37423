import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { ApiError } from "../api/client";
import type { Account, LedgerPage as Answer } from "../api/types";
import { to, type View } from "../api/view";
import type { PageProps } from "../pages";
import { ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { CrossIcon } from "../ui/icons";
import { ViewHeader } from "../ui/view-header";
import { ViewLink } from "../ui/view-link";
import { AccountFacts } from "./account-facts";
import { AccountsTable } from "./accounts-table";
import { Charges } from "./charges";
import { Explanation } from "./explanation";
import { ExportButtons } from "./export-buttons";
import { datasetsOf } from "./figures";
import { LifetimeOverRuns } from "./lifetime-chart";
import { LedgerSkeleton } from "./skeleton";
import { EmptyLedger, NoSuchSite, OnlySite } from "./states";
import { LedgerStrip } from "./strip";
import { chargesQuery, ledgerQuery } from "./queries";

const TITLE = "Privacy ledger";
const NOTE = "What each data set has cost over all runs, and what its site’s own limit still allows";

/** Budgets of every site over all runs: what an auditor and a hospital's engineer look at first. */
export function LedgerPage({ view, live, storageSince }: PageProps) {
  const site = view.query.site ?? null;
  const dataset = view.query.dataset ?? null;
  const ledger = useQuery(ledgerQuery(dataset));
  const charges = useInfiniteQuery(chargesQuery(site, dataset));
  const failed = ledger.error ?? charges.error;

  if (!ledger.data || !charges.data) {
    return (
      <>
        <ViewHeader title={TITLE} note={NOTE} />
        {failed instanceof ApiError && failed.status === 403 && site !== null ? (
          <NoSuchSite site={site} />
        ) : failed ? (
          <ReadFailed error={failed} onRetry={live.retry} />
        ) : (
          <LedgerSkeleton />
        )}
      </>
    );
  }
  const { accounts } = ledger.data;
  const own = accounts.filter((account) => site === null || account.site === site);
  return (
    <>
      <ViewHeader title={TITLE} note={NOTE}>
        {accounts.length > 0 && <ExportButtons site={site} dataset={dataset} />}
      </ViewHeader>
      <div className="run">
        <StaleBanner live={live} storageSince={storageSince} failure={failed?.message ?? null} />
        <OnlySite site={ledger.data.only_site} />
        <Chosen view={view} datasets={datasetsOf(accounts)} />
        {accounts.length === 0 ? (
          <EmptyLedger dataset={dataset} />
        ) : own.length === 0 ? (
          <NoSuchSite site={site ?? ""} />
        ) : (
          <Filled answer={ledger.data} view={view} own={own} />
        )}
      </div>
    </>
  );
}

/** `own`: the accounts of the chosen site, or all. */
function Filled({ answer, view, own }: { answer: Answer; view: View; own: readonly Account[] }) {
  const { accounts } = answer;
  const site = view.query.site ?? null;
  return (
    <>
      <LedgerStrip accounts={own} />
      <div className="ledger-main">
        <AccountsTable accounts={accounts} view={view} more={answer.next_cursor !== null} />
        <LifetimeOverRuns accounts={accounts} site={site} />
      </div>
      <Charges site={site} dataset={view.query.dataset ?? null} several={datasetsOf(accounts).length > 1} />
      <div className="ledger-foot">
        {site !== null && own.map((account) => <AccountFacts key={account.dataset} account={account} />)}
        <Explanation accounts={own} />
      </div>
    </>
  );
}

/** What the page is narrowed to, each with a way out, and the data sets to choose from. */
function Chosen({ view, datasets }: { view: View; datasets: readonly string[] }) {
  const { site = null, dataset = null } = view.query;
  if (site === null && dataset === null && datasets.length < 2) return null;
  return (
    <nav className="chips" aria-label="Shown">
      {site !== null && (
        <ViewLink className="chip" view={to("ledger", { dataset })}>
          <span>
            Site <b>{site}</b>
          </span>
          <CrossIcon />
          <span className="sr-only">Show every site</span>
        </ViewLink>
      )}
      {dataset !== null ? (
        <ViewLink className="chip" view={to("ledger", { site })}>
          <span>
            Data set <b>{dataset}</b>
          </span>
          <CrossIcon />
          <span className="sr-only">Show every data set</span>
        </ViewLink>
      ) : (
        datasets.length > 1 &&
        datasets.map((name) => (
          <ViewLink key={name} className="chip quiet" view={to("ledger", { site, dataset: name })}>
            {name}
          </ViewLink>
        ))
      )}
    </nav>
  );
}
