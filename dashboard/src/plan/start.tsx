import type { PlanAnswer } from "../api/types";
import { Card } from "../ui/card";
import { CopyButton } from "../ui/copy-button";
import { WarningIcon } from "../ui/icons";

/** The command that starts the run as planned. */
export function StartCommand({ answer }: { answer: PlanAnswer }) {
  const { command, command_note: note } = answer;
  return (
    <Card
      className="plan-start"
      title="Start it"
      note="At the server, by whoever holds the operator key. The plan it makes is the one shown here."
    >
      <p className="plan-command">
        <code>{command}</code>
        <CopyButton what="the command that starts the run" text={command} />
      </p>
      {note && <p className="note attention plan-foot">{note}</p>}
    </Card>
  );
}

/** What the forecast stands on, and what wastes budget. */
export function Grounds({ answer }: { answer: PlanAnswer }) {
  const { forecast, history } = answer;
  const { utility, advice, held_out: heldOut } = forecast;
  return (
    <Card
      className="grounds"
      title="What this rests on"
      note="Declared and public values; no record was read."
    >
      <ul>
        {utility && (
          <li>
            {utility.loss.basis === "measured"
              ? "The loss was measured on this table, over 400 splits; the interval held 98 % of means on others."
              : "The loss is carried over from other tables: the same shape at another height, so the interval is wide."}{" "}
            A single run scatters more than the mean: one in ten loses more than{" "}
            {(100 * utility.loss.one_in_ten).toFixed(1)} points.
          </li>
        )}
        <li>{history.assumption}</li>
        {heldOut.planned > 0 && (
          <li>
            {heldOut.released === heldOut.planned
              ? "Evaluations cost held-out records only, which no training sees."
              : `${heldOut.released} of ${heldOut.planned} evaluations fit the held-out records' budget; the others are left out, and never stop a run.`}
          </li>
        )}
        {advice.map(({ code, feature, message, remedy }) => (
          <li key={`${code} ${feature ?? ""}`} className="advice">
            <WarningIcon />
            <span>
              {feature && <b>{feature}: </b>}
              {message} {remedy}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
