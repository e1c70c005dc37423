import type { ReactNode } from "react";

import { CrossIcon, InfoIcon, WarningIcon } from "../ui/icons";

const ICONS = { problem: <CrossIcon />, warning: <WarningIcon />, info: <InfoIcon /> };

interface BannerProps {
  kind: keyof typeof ICONS;
  title: string;
  children: ReactNode;
  action?: ReactNode;
}

export function Banner({ kind, title, children, action }: BannerProps) {
  return (
    <div className={`banner ${kind}`} role={kind === "info" ? undefined : "alert"}>
      {ICONS[kind]}
      <p>
        <strong>{title}</strong> {children}
      </p>
      {action}
    </div>
  );
}
