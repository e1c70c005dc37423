import { useQuery } from "@tanstack/react-query";

import type { SiteDetail } from "../api/types";
import { to } from "../api/view";
import { ApiError } from "../api/client";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import { accountKey, toldOf } from "../ledger/figures";
import { BoneHeader } from "../ui/bones";
import { NoSuchSite } from "../ledger/states";
import { siteQuery } from "../ledger/queries";
import { AccountMark } from "../ledger/status";
import { outcomeWords } from "../ledger/words";
import { RunMark } from "../frame/run-mark";
import { Meter } from "../run/meter";
import { STATE_WORDS } from "../run/words";
import { ReadFailed } from "../states/message";
import { Card } from "../ui/card";
import { Command } from "../ui/command";
import { Digest } from "../ui/digest";
import { LEVEL } from "../ui/level";
import { ViewLink } from "../ui/view-link";
import { adviceFor } from "./advice";

/** One site: what to do, its budgets, its newest runs, what was told of it. */
export function SiteDetails({ site, onRetry }: { site: string; onRetry: () => void }) {
  const detail = useQuery(siteQuery(site));
  if (!detail.data) {
    if (detail.error instanceof ApiError && (detail.error.status === 404 || detail.error.status === 403))
      return <NoSuchSite site={site} />;
    if (detail.error) return <ReadFailed error={detail.error} onRetry={onRetry} />;
    return (
      <div className="card" aria-busy="true">
        <BoneHeader name={site} />
        <div className="bone-rows">
          <span className="bone block" />
        </div>
      </div>
    );
  }
  return (
    <>
      <WhatToDo site={detail.data} />
      <div className="site-details">
        <div className="site-column">
          <Budgets site={detail.data} />
          <Identity site={detail.data} />
        </div>
        <NewestRuns site={detail.data} />
        <Told site={detail.data} />
      </div>
    </>
  );
}

function WhatToDo({ site }: { site: SiteDetail }) {
  const advice = adviceFor(site);
  if (advice.length === 0) return null;
  return (
    <Card className="advice" title={`What to do about ${site.site}`}>
      {advice.map(({ title, text, commands }) => (
        <div key={title} className="advice-part">
          <p>
            <strong>{title}</strong> {text}
          </p>
          {commands.length > 0 && (
            <dl className="commands">
              {commands.map(({ where, command }) => (
                <Command key={command} where={where} command={command} />
              ))}
            </dl>
          )}
        </div>
      ))}
    </Card>
  );
}

function Budgets({ site }: { site: SiteDetail }) {
  return (
    <Card
      className="site-budgets"
      title={`Budgets of ${site.site}`}
      note="One for each data set, over its whole life"
      action={
        <ViewLink className="button small" view={to("ledger", { site: site.site })}>
          Ledger
        </ViewLink>
      }
    >
      {site.accounts.length === 0 && <p className="nothing">No run has asked it yet.</p>}
      <ul>
        {site.accounts.map((account) => {
          const told = toldOf(account);
          return (
            <li key={accountKey(account)}>
              <p className="budget-head">
                <span>{account.dataset}</span>
                <AccountMark account={account} />
              </p>
              {told ? (
                <>
                  <Meter budget={told} />
                  <p className="note">
                    ε {format.spent(told.spent)} of {format.limit(told.limit)},{" "}
                    {format.remaining(told.limit - told.spent)} remaining
                    {account.delta !== null && ` at δ ${format.delta(account.delta)}`}
                    {account.runs_left !== null &&
                      `; ${format.plural(account.runs_left, "run")} like the newest left`}
                  </p>
                </>
              ) : (
                <p className="note">It has told nothing of this budget yet.</p>
              )}
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

/** The key that the server knows the site by. */
function Identity({ site: { site, key } }: { site: SiteDetail }) {
  return (
    <Card
      className="facts identity"
      title="Identity"
      note="The key by which the server knows it. Compare it with the site’s own, over another way"
    >
      <div className="facts-body">
        {key === null ? (
          <p className="note">No allow-list of this hub names {site}.</p>
        ) : (
          <dl>
            <Digest name="Public key" value={key.fingerprint} />
            <div>
              <dt>{key.until === null ? "On the allow-list since" : "Taken off the allow-list"}</dt>
              <dd>
                <time dateTime={key.until ?? key.since} title={local(key.until ?? key.since)}>
                  {utcMinute(key.until ?? key.since)}
                </time>
              </dd>
            </div>
            {key.earlier > 0 && (
              <div>
                <dt>Before that</dt>
                <dd>{format.plural(key.earlier, "other key")}</dd>
              </div>
            )}
          </dl>
        )}
      </div>
    </Card>
  );
}

function NewestRuns({ site }: { site: SiteDetail }) {
  return (
    <Card className="site-runs" title="Newest runs" note="What each cost, and what came of it">
      {site.charges.length === 0 && <p className="nothing">None yet.</p>}
      <ul className="site-list">
        {site.charges.map((charge) => (
          <li key={charge.run_id}>
            <ViewLink className="run-of" view={to("run", { run: charge.run_id, site: site.site })}>
              <RunMark state={charge.state} />
              <span>
                {charge.name}
                <small>
                  <span className="sr-only">{STATE_WORDS[charge.state]}, </span>
                  {utcMinute(charge.at)}
                </small>
              </span>
            </ViewLink>
            <span className="site-run-cost">
              {charge.outcome === "joined" && charge.epsilon_run !== null
                ? `ε ${format.spent(charge.epsilon_run)}`
                : format.NOT_APPLICABLE}
            </span>
            <span className="note">{outcomeWords(charge)}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Told({ site }: { site: SiteDetail }) {
  return (
    <Card
      className="site-told"
      title="What was told of it"
      note="In its newest runs, newest first. Times are UTC"
    >
      <ol className="site-list">
        {site.entries.map((entry) => (
          <li key={`${entry.run_id}/${entry.id}`}>
            <span className={`tone-${LEVEL[entry.level].tone}`}>{LEVEL[entry.level].icon}</span>
            <p>
              {LEVEL[entry.level].word && <span className="sr-only">{LEVEL[entry.level].word}</span>}
              {entry.text}
              <small>
                <time dateTime={entry.at} title={local(entry.at)}>
                  {utcMinute(entry.at)}
                </time>
              </small>
            </p>
          </li>
        ))}
        {site.entries.length === 0 && <li className="nothing">Nothing yet.</li>}
      </ol>
    </Card>
  );
}
