/** The view is in the URL: which run, and which site is singled out. Every view is a link. */
import { useSyncExternalStore } from "react";

export interface View {
  /** Null follows the newest run. */
  run: string | null;
  site: string | null;
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** The view that a query string asks for. */
export function parseView(search: string): View {
  const parameters = new URLSearchParams(search);
  const named = (name: keyof View) => parameters.get(name) ?? "";
  return {
    run: named("run") === "" ? null : named("run"),
    site: named("site") === "" ? null : named("site"),
  };
}

/** A relative link to a view. */
export function linkTo(view: View): string {
  const parameters = new URLSearchParams();
  if (view.run) parameters.set("run", view.run);
  if (view.site) parameters.set("site", view.site);
  const query = parameters.toString();
  return query ? `?${query}` : "./";
}

/** Go to a view; `replace` where going back should skip it. */
export function navigate(view: View, replace = false): void {
  const link = linkTo(view);
  if (replace) history.replaceState(null, "", link);
  else history.pushState(null, "", link);
  for (const listener of listeners) listener();
}

export function useView(): View {
  return parseView(useSyncExternalStore(subscribe, () => location.search));
}
