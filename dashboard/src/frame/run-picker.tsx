import * as Popover from "@radix-ui/react-popover";
import { useState, type KeyboardEvent, type ReactNode } from "react";

import type { RunSummary } from "../api/types";
import { to, type Page } from "../api/view";
import * as format from "../format/numbers";
import { utcMinute } from "../format/time";
import { STATE_WORDS } from "../run/words";
import { CheckIcon, ChevronIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { RunMark } from "./run-mark";

interface RunPickerProps {
  runs: readonly RunSummary[];
  shown: RunSummary;
  /** The page that shows the run. */
  page: Page;
  /** No run was chosen: the newest one is followed. */
  follows: boolean;
}

/** Every run as a link, newest first, in a list that opens below its button. */
export function RunPicker({ runs, shown, page, follows }: RunPickerProps) {
  const [open, setOpen] = useState(false);
  const listed = runs.some((run) => run.run_id === shown.run_id) ? runs : [shown, ...runs];
  const close = () => {
    setOpen(false);
  };
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger className="picker">
        <span className="sr-only">Training run: </span>
        <RunMark state={shown.state} />
        <span className="picker-name">{shown.name}</span>
        <span className="picker-detail">ε {format.limit(shown.epsilon_target)}</span>
        <ChevronIcon />
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="picker-list"
          aria-label="Training runs"
          sideOffset={6}
          align="start"
          collisionPadding={12}
          onOpenAutoFocus={(event) => {
            event.preventDefault();
            const content = event.currentTarget as HTMLElement;
            (content.querySelector<HTMLElement>("[aria-current]") ?? content.querySelector("a"))?.focus();
          }}
          onKeyDown={moveFocus}
        >
          <Item page={page} chosen={follows} run={null} onChoose={close}>
            <span className="picker-follow" aria-hidden="true" />
            <span className="picker-item-name">Follow the newest run</span>
          </Item>
          <hr />
          <ul>
            {listed.map((run) => (
              <li key={run.run_id}>
                <Item
                  page={page}
                  chosen={!follows && run.run_id === shown.run_id}
                  run={run.run_id}
                  onChoose={close}
                >
                  <RunMark state={run.state} />
                  <span className="picker-item-name">
                    {run.name}
                    <small>
                      {utcMinute(run.created_at)}, ε {format.limit(run.epsilon_target)}
                    </small>
                  </span>
                  <span className="picker-detail">
                    {STATE_WORDS[run.state]}, {run.round} of {run.rounds}
                  </span>
                </Item>
              </li>
            ))}
          </ul>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

interface ItemProps {
  page: Page;
  run: string | null;
  chosen: boolean;
  onChoose: () => void;
  children: ReactNode;
}

function Item({ page, run, chosen, onChoose, children }: ItemProps) {
  return (
    <ViewLink className="picker-item" view={to(page, { run })} current={chosen} onGo={onChoose}>
      {children}
      <span className="picker-check">{chosen && <CheckIcon />}</span>
    </ViewLink>
  );
}

/** Arrow keys, Home and End move through the list, as in a native select. */
function moveFocus(event: KeyboardEvent<HTMLElement>) {
  const links = [...event.currentTarget.querySelectorAll("a")];
  const index = links.findIndex((link) => link === document.activeElement);
  const target = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: links.length - 1 }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  links[Math.max(0, Math.min(target, links.length - 1))]?.focus();
}
