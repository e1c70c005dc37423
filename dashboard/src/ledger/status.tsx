import type { ReactNode } from "react";

import type { Account, AccountStatus, SiteSummary, Standing } from "../api/types";
import { CheckIcon, CrossIcon, OfflineIcon, StopIcon, WaitingIcon, WarningIcon } from "../ui/icons";
import { ACCOUNT_WORDS, accountWords, standingWords } from "./words";

interface Look {
  icon: ReactNode;
  tone: string;
}

const ACCOUNT_LOOK: Record<AccountStatus, Look> = {
  within_budget: { icon: <CheckIcon />, tone: "ok" },
  near_limit: { icon: <WarningIcon />, tone: "warning" },
  at_limit: { icon: <StopIcon />, tone: "limit" },
  refused: { icon: <CrossIcon />, tone: "limit" },
  unknown: { icon: <WaitingIcon />, tone: "muted" },
};

const STANDING_LOOK: Record<Standing, Look> = {
  in_run: { icon: <CheckIcon />, tone: "ok" },
  offline: { icon: <OfflineIcon />, tone: "warning" },
  awaiting_approval: { icon: <WaitingIcon />, tone: "warning" },
  not_joined: { icon: <WaitingIcon />, tone: "muted" },
  declined: { icon: <CrossIcon />, tone: "limit" },
  idle: { icon: <CheckIcon />, tone: "ok" },
  enrolled: { icon: <WaitingIcon />, tone: "muted" },
  revoked: { icon: <StopIcon />, tone: "limit" },
};

/** How a budget stands, as icon and words. */
export function AccountMark({ account }: { account: Account }) {
  return <Mark look={ACCOUNT_LOOK[account.status]}>{accountWords(account)}</Mark>;
}

/** The same without the reason. */
export function BudgetMark({ status }: { status: AccountStatus }) {
  return <Mark look={ACCOUNT_LOOK[status]}>{ACCOUNT_WORDS[status]}</Mark>;
}

/** How a site stands. */
export function StandingMark({ site }: { site: SiteSummary }) {
  const look = site.stock ? STANDING_LOOK.declined : STANDING_LOOK[site.standing];
  return <Mark look={look}>{standingWords(site)}</Mark>;
}

export function Mark({ look: { icon, tone }, children }: { look: Look; children: ReactNode }) {
  return (
    <span className={`status tone-${tone}`}>
      {icon}
      {children}
    </span>
  );
}
