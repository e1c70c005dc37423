import type { SiteSummary, Standing } from "../api/types";
import { adviceFor } from "./advice";

const ORDER: readonly Standing[] = [
  "awaiting_approval",
  "offline",
  "declined",
  "not_joined",
  "in_run",
  "idle",
  "enrolled",
  "revoked",
];

/** Who needs somebody first, then by how it stands, then by name. */
export function byNeed(a: SiteSummary, b: SiteSummary): number {
  const calm = (site: SiteSummary) => Number(adviceFor(site).length === 0);
  return (
    calm(a) - calm(b) ||
    ORDER.indexOf(a.standing) - ORDER.indexOf(b.standing) ||
    a.site.localeCompare(b.site, "en", { numeric: true })
  );
}
