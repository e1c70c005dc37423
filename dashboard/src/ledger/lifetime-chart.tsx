import { useMemo } from "react";

import type { Account } from "../api/types";
import { ChartCard } from "../charts/chart-card";
import { closestToLimit } from "../run/budget";
import { toldOf, type Told } from "./figures";
import { lifetimeModel } from "./lifetime-model";

/** Lifetime epsilon after each run, as a share of each site's own limit. */
export function LifetimeOverRuns({ accounts, site }: { accounts: readonly Account[]; site: string | null }) {
  const shown = useMemo(() => shownAccount(accounts, site), [accounts, site]);
  const { model, table } = useMemo(() => lifetimeModel(accounts, shown), [accounts, shown]);
  return (
    <ChartCard
      title="Lifetime ε, run by run"
      note={
        shown
          ? `Share of each site’s own present limit. Highlighted: ${shown.site}${site === null ? ", closest to it" : ""}`
          : "Share of each site’s own present limit"
      }
      model={model}
      table={table}
      empty={shown ? null : <p>The first run that a site joins shows up here.</p>}
    />
  );
}

/** The account that is highlighted: the chosen site's if it has told, else the closest to its limit. */
function shownAccount(accounts: readonly Account[], site: string | null): Told | null {
  const told = accounts.flatMap((account) => toldOf(account) ?? []);
  const own = told.filter((one) => one.site === site);
  const closest = closestToLimit(own.length > 0 ? own : told);
  return told.find((one) => one === closest) ?? null;
}
