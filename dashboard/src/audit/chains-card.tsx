import type { ReactNode } from "react";

import type { Chain, Chains } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { Card } from "../ui/card";
import { CopyButton } from "../ui/copy-button";
import { CheckIcon, CrossIcon, InfoIcon, StopIcon, WaitingIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { CHAIN_STATES } from "./words";

const ICONS: Record<Chain["state"], ReactNode> = {
  consistent: <CheckIcon />,
  forked: <CrossIcon />,
  rolled_back: <StopIcon />,
  unknown: <WaitingIcon />,
};

/** Each ledger's hash chain, as far as the hub can compare what it was told of it. */
export function ChainsCard({ chains }: { chains: Chains }) {
  const bad = chains.chains.filter(({ state }) => state === "forked" || state === "rolled_back").length;
  return (
    <Card
      className="chains"
      title="Ledgers"
      note={
        bad > 0
          ? `${format.plural(bad, "ledger")} told the hub what no ledger that only grows can tell`
          : "Every head that the hub was told, compared with all others of its ledger"
      }
    >
      {chains.chains.length === 0 ? (
        <p className="nothing">
          No site has told of its ledger yet. It does when it is asked for its first run.
        </p>
      ) : (
        <ul className="chain-list">
          {chains.chains.map((chain) => (
            <ChainItem key={`${chain.site}/${chain.dataset}`} chain={chain} />
          ))}
        </ul>
      )}
      <details className="not-proven">
        <summary>What this does not prove</summary>
        <ul>
          {chains.not_proven.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      </details>
    </Card>
  );
}

function ChainItem({ chain }: { chain: Chain }) {
  const { title, tone } = CHAIN_STATES[chain.state];
  const failed = chain.checks.filter(({ state }) => state === "failed");
  return (
    <li>
      <div className="chain-line">
        <span className={`status tone-${tone}`}>
          {ICONS[chain.state]}
          {title}
        </span>
        <span>
          <ViewLink view={to("audit", { site: chain.site })}>
            <b>{chain.site}</b>
          </ViewLink>{" "}
          <span className="note">{chain.dataset}</span>
        </span>
        {chain.last?.head && (
          <span className="chain-head">
            entry {chain.last.seq} <code>{chain.last.head.slice(0, 12)}…</code>
            <CopyButton what={`the newest hash of ${chain.site}`} text={chain.last.head} />
          </span>
        )}
      </div>
      {failed.map((check) => (
        <p key={check.what} className="attention tone-limit">
          {check.detail}
        </p>
      ))}
      <details open={failed.length > 0}>
        <summary>
          {format.plural(chain.heads, "head")} of {format.plural(chain.runs, "run")} compared, {chain.signed}{" "}
          signed by the site
        </summary>
        <ul className="chain-checks">
          {chain.checks.map((check) => (
            <li key={check.what}>
              <span
                className={`tone-${check.state === "ok" ? "ok" : check.state === "failed" ? "limit" : "muted"}`}
              >
                {check.state === "ok" ? (
                  <CheckIcon />
                ) : check.state === "failed" ? (
                  <CrossIcon />
                ) : (
                  <InfoIcon />
                )}
              </span>
              <div>
                {check.what}: {check.state === "ok" ? "" : `${check.state}, `}
                {check.detail}
                {check.evidence.map((head) => (
                  <code className="evidence" key={`${head.object}/${head.seq ?? ""}`}>
                    {head.object}
                    {head.head !== null && ` says entry ${head.seq ?? ""} is ${head.head.slice(0, 16)}…`}
                  </code>
                ))}
              </div>
            </li>
          ))}
        </ul>
      </details>
    </li>
  );
}
