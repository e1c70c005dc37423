/** The view is in the address: the page as one path segment, all that it shows in the query. Every view is a link. */
import { useSyncExternalStore } from "react";

/** The newest run, or the one in the query, has the bare address. */
const PAGES = ["run", "runs", "ledger", "sites", "compare", "audit", "statement", "plan"] as const;
export type Page = (typeof PAGES)[number];

export interface View {
  /** Null: the address names no page of ours. */
  page: Page | null;
  /** What is there is not empty. */
  query: Readonly<Partial<Record<string, string>>>;
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

/** The view of a page; parameters that are empty or null are left out. */
export function to(page: Page, query: Readonly<Record<string, string | null | undefined>> = {}): View {
  const kept = Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]));
  return { page, query: Object.fromEntries(kept) };
}

/** The view that an address asks for, such as "/ledger?site=site-1". */
export function parseView(address: string): View {
  const [path = "", search = ""] = address.split("?", 2);
  const segment = path.split("/").at(-1) ?? "";
  const page = segment === "" || segment === "index.html" ? "run" : PAGES.find((name) => name === segment);
  const { query } = to("run", Object.fromEntries(new URLSearchParams(search)));
  return { page: page ?? null, query };
}

/** A relative link to a view. */
export function linkTo(view: View): string {
  const query = new URLSearchParams(view.query as Record<string, string>).toString();
  return `./${view.page === "run" ? "" : (view.page ?? "")}${query && `?${query}`}`;
}

/** Go to a view; `replace` where going back should skip it. */
export function navigate(view: View, replace = false): void {
  const link = linkTo(view);
  if (replace) history.replaceState(null, "", link);
  else history.pushState(null, "", link);
  for (const listener of listeners) listener();
}

export function useView(): View {
  return parseView(useSyncExternalStore(subscribe, () => location.pathname + location.search));
}
