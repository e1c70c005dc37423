import type { ReactNode } from "react";

import type { StatementCheck, StatementFinding } from "../api/types";
import { local, utcMinute } from "../format/time";
import { CopyButton } from "../ui/copy-button";
import { CheckIcon, CrossIcon, InfoIcon, WaitingIcon, WarningIcon } from "../ui/icons";
import { STATES } from "./words";

const ICONS: Record<StatementCheck["state"], ReactNode> = {
  verified: <CheckIcon />,
  incomplete: <WarningIcon />,
  failed: <CrossIcon />,
  checking: <WaitingIcon />,
  unchecked: <InfoIcon />,
  none: <InfoIcon />,
};

/** Whether the statement is genuine, as far as this hub can tell of itself: loud when it is not. */
export function StateCard({ check }: { check: StatementCheck }) {
  const { title, tone } = STATES[check.state];
  return (
    <div
      className={`proof proof-${check.state}`}
      role={check.state === "failed" ? "alert" : "status"}
      aria-busy={check.state === "checking"}
    >
      <span className={`proof-mark tone-${tone}`}>{ICONS[check.state]}</span>
      <div>
        <p className="proof-title">{title}</p>
        <p>{check.detail}</p>
        {(check.checked_at ?? check.state === "checking") && (
          <p className="note">
            {check.checked_at ? (
              <>
                Checked{" "}
                <time dateTime={check.checked_at} title={local(check.checked_at)}>
                  {utcMinute(check.checked_at)}
                </time>
              </>
            ) : (
              "Being checked now"
            )}{" "}
            by this hub’s metrics API, with the public keys that it was given. It is the hub’s own word on
            itself; the command below is an independent check.
          </p>
        )}
      </div>
    </div>
  );
}

const FINDING: Record<StatementFinding["state"], { icon: ReactNode; tone: string; word: string }> = {
  ok: { icon: <CheckIcon />, tone: "ok", word: "holds" },
  failed: { icon: <CrossIcon />, tone: "limit", word: "failed" },
  "not checked": { icon: <InfoIcon />, tone: "warning", word: "not checked" },
};

/** Every check, as `fedpriv verify` prints it; what failed comes first. */
export function Findings({ check }: { check: StatementCheck }) {
  if (check.findings.length === 0) return null;
  const rank = { failed: 0, "not checked": 1, ok: 2 };
  const findings = check.findings
    .map((finding, place) => ({ finding, place }))
    .sort((one, other) => rank[one.finding.state] - rank[other.finding.state] || one.place - other.place);
  const failed = check.findings.filter(({ state }) => state === "failed").length;
  const held = check.findings.filter(({ state }) => state === "ok").length;
  const open = check.findings.length - held - failed;
  return (
    <details className="findings" open={failed > 0}>
      <summary>
        {held} of {check.findings.length} checks hold
        {failed > 0 ? `, ${failed} failed` : ""}
        {open > 0 ? `, ${open} could not be made` : ""}
      </summary>
      <div className="table-scroll" role="region" aria-label="Checks, table" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Check</th>
              <th scope="col">Outcome</th>
              <th scope="col">What was found</th>
            </tr>
          </thead>
          <tbody>
            {findings.map(({ finding, place }) => {
              const { icon, tone, word } = FINDING[finding.state];
              return (
                <tr key={place}>
                  <th scope="row">{finding.what}</th>
                  <td>
                    <span className={`status tone-${tone}`}>
                      {icon}
                      {word}
                    </span>
                  </td>
                  <td>{finding.detail}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {check.keys.length > 0 && (
        <dl className="fingerprints">
          {check.keys.map((key) => (
            <div key={`${key.owner}/${key.file}`}>
              <dt>
                Key of {key.owner === "hub" ? "the hub" : key.owner}
                {key.former && ", replaced since"}
              </dt>
              <dd>
                <code>{key.fingerprint}</code>
                <CopyButton what={`the fingerprint of the key of ${key.owner}`} text={key.fingerprint} />
              </dd>
            </div>
          ))}
        </dl>
      )}
    </details>
  );
}
