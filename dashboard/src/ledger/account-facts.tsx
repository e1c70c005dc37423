import type { ReactNode } from "react";

import type { Account } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import { Card } from "../ui/card";
import { Digest } from "../ui/digest";
import { ViewLink } from "../ui/view-link";

/** What one account stands on: its policy, its ledger's head, and when the hub was told. */
export function AccountFacts({ account }: { account: Account }) {
  const { site, dataset, policies } = account;
  const [policy] = policies;
  return (
    <Card
      className="facts account-facts"
      title={`Account of ${site}`}
      note={`For ${dataset}, as the site last told it`}
      action={
        <ViewLink className="button small" view={to("sites", { site })}>
          How the site stands
        </ViewLink>
      }
    >
      <div className="facts-body">
        <dl>
          <Fact name="Guarantee">
            {account.epsilon_limit === null || account.delta === null
              ? format.NOT_APPLICABLE
              : `ε ${format.limit(account.epsilon_limit)}, δ ${format.delta(account.delta)} for life`}
          </Fact>
          <Fact name="Neighbours">
            {account.adjacency === null
              ? format.NOT_APPLICABLE
              : `${account.adjacency === "add-remove" ? "add or remove one" : account.adjacency} ${account.unit ?? "record"}`}
          </Fact>
          <Fact name="Told">
            {account.told_at === null ? format.NOT_APPLICABLE : <Minute iso={account.told_at} />}
          </Fact>
          <Fact name="Held-out records">
            {account.epsilon_held_out === null
              ? format.NOT_APPLICABLE
              : `pure ε ${format.spent(account.epsilon_held_out)} of ${format.limit(account.epsilon_limit ?? 0)}`}
          </Fact>
          <Fact name="Before its first run here">
            {account.epsilon_before === null
              ? format.NOT_APPLICABLE
              : `ε ${format.spent(account.epsilon_before)}`}
          </Fact>
          <Fact name="Ledger entries">
            {account.ledger_seq === null ? format.NOT_APPLICABLE : account.ledger_seq.toLocaleString("en-GB")}
          </Fact>
          {account.ledger_head !== null && <Digest name="Ledger head" value={account.ledger_head} />}
          {policy && <Digest name="Policy" value={policy.policy_digest} />}
          {policy && (
            <Fact name="Policy told since">
              <Minute iso={policy.since} />
            </Fact>
          )}
        </dl>
        {policies.length > 1 && (
          <div className="table-scroll" role="region" aria-label={`Policies of ${site}, table`} tabIndex={0}>
            <table>
              <caption>Earlier policies of the site, as they were told</caption>
              <thead>
                <tr>
                  <th scope="col">Told since</th>
                  <th scope="col" className="number">
                    Limit ε
                  </th>
                  <th scope="col" className="number">
                    δ
                  </th>
                </tr>
              </thead>
              <tbody>
                {policies.slice(1).map((earlier) => (
                  <tr key={earlier.since}>
                    <th scope="row">
                      <Minute iso={earlier.since} />
                    </th>
                    <td className="number">{format.limit(earlier.epsilon_limit)}</td>
                    <td className="number">{format.delta(earlier.delta)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </div>
    </Card>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Minute({ iso }: { iso: string }) {
  return (
    <time dateTime={iso} title={local(iso)}>
      {utcMinute(iso)}
    </time>
  );
}
