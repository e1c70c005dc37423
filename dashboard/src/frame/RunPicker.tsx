import * as Select from "@radix-ui/react-select";

import type { RunSummary } from "../api/types";
import { limit } from "../format/numbers";
import { utcMinute } from "../format/time";

const WORDS = {
  active: "training",
  finished: "finished",
  halted: "halted",
  failed: "failed",
  cancelled: "cancelled",
};

/** Chooses a run, newest first. */
export function RunPicker(props: {
  runs: RunSummary[];
  value: string | null;
  onChoose: (runId: string) => void;
}) {
  const current = props.runs.find((run) => run.run_id === props.value);
  return (
    <Select.Root {...(props.value ? { value: props.value } : {})} onValueChange={props.onChoose}>
      <Select.Trigger className="picker" aria-label="Run">
        <span className={`dot ${current?.state ?? ""}`} aria-hidden="true" />
        <Select.Value>
          {current
            ? `${current.name} · ε ${limit(current.epsilon_target)} · ${WORDS[current.state]}`
            : "Choose a run"}
        </Select.Value>
        <Select.Icon aria-hidden="true">▾</Select.Icon>
      </Select.Trigger>
      <Select.Portal>
        <Select.Content className="picker-list" position="popper" sideOffset={4}>
          <Select.Viewport>
            {props.runs.map((run) => (
              <Select.Item key={run.run_id} value={run.run_id} className="picker-item">
                <span className={`dot ${run.state}`} aria-hidden="true" />
                <Select.ItemText>
                  {run.name} · ε {limit(run.epsilon_target)}
                </Select.ItemText>
                <small>
                  {WORDS[run.state]}, round {run.round} of {run.rounds} · {utcMinute(run.created_at)}
                </small>
              </Select.Item>
            ))}
          </Select.Viewport>
        </Select.Content>
      </Select.Portal>
    </Select.Root>
  );
}
