/** Every page of the dashboard: its name, its place in the rail, and its code, which is loaded when it is first shown. */
import { lazy, type ComponentType, type LazyExoticComponent, type ReactNode } from "react";

import type { Live } from "./api/use-live";
import type { Page, View } from "./api/view";
import { RunPage } from "./run/run-page";
import { AuditIcon, ChartIcon, CompareIcon, LedgerIcon, PlanIcon, RunsIcon, SitesIcon } from "./ui/icons";

export interface PageProps {
  /** What the address asks this page to show. */
  view: View;
  live: Live;
  /** The API answers, but cannot read its bucket since then; null when it can. */
  storageSince: string | null;
}

export interface PageEntry {
  page: Page;
  name: string;
  /** In the rail; null: reached from other pages only. */
  icon: ReactNode;
  View: ComponentType<PageProps> | LazyExoticComponent<ComponentType<PageProps>>;
}

export const PAGES: readonly PageEntry[] = [
  { page: "run", name: "Training run", icon: <ChartIcon />, View: RunPage },
  {
    page: "runs",
    name: "Runs",
    icon: <RunsIcon />,
    View: lazy(() => import("./runs/runs-page").then(({ RunsPage }) => ({ default: RunsPage }))),
  },
  {
    page: "compare",
    name: "Compare",
    icon: <CompareIcon />,
    View: lazy(() => import("./compare/compare-page").then(({ ComparePage }) => ({ default: ComparePage }))),
  },
  {
    page: "ledger",
    name: "Privacy ledger",
    icon: <LedgerIcon />,
    View: lazy(() => import("./ledger/ledger-page").then((module) => ({ default: module.LedgerPage }))),
  },
  {
    page: "sites",
    name: "Sites",
    icon: <SitesIcon />,
    View: lazy(() => import("./sites/sites-page").then((module) => ({ default: module.SitesPage }))),
  },
  {
    page: "plan",
    name: "Plan",
    icon: <PlanIcon />,
    View: lazy(() => import("./plan/plan-page").then(({ PlanPage }) => ({ default: PlanPage }))),
  },
  {
    page: "audit",
    name: "Audit log",
    icon: <AuditIcon />,
    View: lazy(() => import("./audit/audit-page").then(({ AuditPage }) => ({ default: AuditPage }))),
  },
  {
    page: "statement",
    name: "Privacy statement",
    icon: null,
    View: lazy(() =>
      import("./statement/statement-page").then(({ StatementPage }) => ({ default: StatementPage })),
    ),
  },
];
