import { useState } from "react";

import type { Account } from "../api/types";
import { to, type View } from "../api/view";
import * as format from "../format/numbers";
import { Meter } from "../run/meter";
import { Card } from "../ui/card";
import { ViewLink } from "../ui/view-link";
import { accountKey, byShare, datasetsOf, toldOf } from "./figures";
import { AccountMark } from "./status";

/** More rows than this wait behind a button. */
const FIRST_ROWS = 12;

interface AccountsTableProps {
  accounts: readonly Account[];
  view: View;
  /** The API has more than it gave. */
  more: boolean;
}

/** Every budget against its limit. Roles are spelled out: narrow screens lay each row out as a grid. */
export function AccountsTable({ accounts, view, more }: AccountsTableProps) {
  const [all, setAll] = useState(false);
  const sorted = byShare(accounts);
  const rows = all ? sorted : sorted.slice(0, FIRST_ROWS);
  const several = datasetsOf(accounts).length > 1;
  return (
    <Card
      className="accounts"
      title="Lifetime budgets"
      note="Solid is spent, hatched is planned by an active run, the notch marks 80 %. Choose a site to see it alone."
    >
      <div className="table-scroll" role="region" aria-label="Lifetime budgets, table" tabIndex={0}>
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
                Remaining
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
            {rows.map((account) => (
              <Row key={accountKey(account)} account={account} view={view} several={several} />
            ))}
          </tbody>
        </table>
      </div>
      {sorted.length > FIRST_ROWS && (
        <button
          type="button"
          className="button small show-all"
          aria-expanded={all}
          onClick={() => {
            setAll(!all);
          }}
        >
          {all ? `Show the first ${FIRST_ROWS}` : `Show all ${sorted.length}`}
        </button>
      )}
      {more && (
        <p className="nothing">
          These are the first {sorted.length} by name; the API gives the others (/v1/privacy/ledger, cursor).
        </p>
      )}
    </Card>
  );
}

function Row({ account, view, several }: { account: Account; view: View; several: boolean }) {
  const told = toldOf(account);
  const chosen = view.query.site === account.site;
  const target = to("ledger", { ...view.query, site: chosen ? null : account.site });
  return (
    <tr role="row" className={chosen ? "chosen" : undefined}>
      <th role="rowheader" scope="row">
        <ViewLink view={target} current={chosen} replace>
          {account.site}
        </ViewLink>
        {several && <span className="note"> {account.dataset}</span>}
      </th>
      <td role="cell" className="wide">
        {told ? <Meter budget={told} /> : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="number" data-label="ε spent">
        {told ? (
          <>
            {format.spent(told.spent)}
            <span className="of"> / {format.limit(told.limit)}</span>
          </>
        ) : (
          format.NOT_APPLICABLE
        )}
      </td>
      <td role="cell" className="number" data-label="Remaining">
        {told ? format.remaining(told.limit - told.spent) : format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="number" data-label="Runs left">
        {account.runs_left ?? format.NOT_APPLICABLE}
      </td>
      <td role="cell" className="state">
        <AccountMark account={account} />
      </td>
    </tr>
  );
}
