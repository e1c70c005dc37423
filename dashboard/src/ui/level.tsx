import type { ReactNode } from "react";

import type { LogEntry } from "../api/types";
import { CheckIcon, CrossIcon, InfoIcon, WarningIcon } from "./icons";

/** How an entry of a log looks, and what is said of it to who does not see that. */
export const LEVEL: Record<LogEntry["level"], { icon: ReactNode; tone: string; word: string }> = {
  ok: { icon: <CheckIcon />, tone: "ok", word: "" },
  info: { icon: <InfoIcon />, tone: "muted", word: "" },
  warning: { icon: <WarningIcon />, tone: "warning", word: "Warning: " },
  problem: { icon: <CrossIcon />, tone: "limit", word: "Problem: " },
};
