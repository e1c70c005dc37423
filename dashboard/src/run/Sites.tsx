import type { RunPrivacy, SiteStatus } from "../api/types";
import { NOT_APPLICABLE, limit, share, spent } from "../format/numbers";

const STATUS: Record<SiteStatus, { icon: string; words: string; level: string }> = {
  within_budget: { icon: "✓", words: "Within budget", level: "ok" },
  near_limit: { icon: "▲", words: "Near limit", level: "warning" },
  at_limit: { icon: "■", words: "At limit", level: "problem" },
  refused: { icon: "✕", words: "Declined", level: "problem" },
  offline: { icon: "○", words: "Offline", level: "problem" },
  waiting: { icon: "…", words: "Waiting", level: "info" },
};

/** Each site's budget: spent, planned, limit. */
export function Sites({ privacy }: { privacy: RunPrivacy }) {
  return (
    <section className="card" aria-labelledby="sites">
      <header className="card-head">
        <div>
          <h2 id="sites">Privacy budget by site</h2>
          <p className="muted">Each site sets its own limit and refuses what would pass it.</p>
        </div>
      </header>
      <div className="scroll" tabIndex={0} role="region" aria-label="Sites">
        <table>
          <thead>
            <tr>
              <th scope="col">Site</th>
              <th scope="col">Share of limit</th>
              <th scope="col" className="number">
                ε spent
              </th>
              <th scope="col" className="number">
                Runs left
              </th>
              <th scope="col">Status</th>
            </tr>
          </thead>
          <tbody>
            {privacy.sites.map((site) => {
              const used = site.epsilon_spent.at(-1) ?? 0;
              const status = STATUS[site.status];
              return (
                <tr key={site.site}>
                  <th scope="row">{site.site}</th>
                  <td>
                    <Meter
                      site={site.site}
                      used={used}
                      planned={site.epsilon_planned}
                      limit={site.epsilon_limit}
                    />
                  </td>
                  <td className="number">
                    {spent(used)}{" "}
                    <span className="muted">
                      / {site.epsilon_limit === null ? NOT_APPLICABLE : limit(site.epsilon_limit)}
                    </span>
                  </td>
                  <td className="number">{site.runs_left ?? NOT_APPLICABLE}</td>
                  <td className={status.level}>
                    <span aria-hidden="true">{status.icon}</span> {status.words}
                    {site.code && site.code !== "OK" && <small className="muted"> {site.code}</small>}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Meter(props: { site: string; used: number; planned: number | null; limit: number | null }) {
  if (props.limit === null) return <span className="muted">{NOT_APPLICABLE}</span>;
  const part = Math.min(1, props.used / props.limit);
  const planned = Math.min(1, (props.planned ?? props.used) / props.limit);
  return (
    <svg
      className="meter"
      viewBox="0 0 160 10"
      role="meter"
      aria-label={`Privacy budget of ${props.site}`}
      aria-valuemin={0}
      aria-valuemax={props.limit}
      aria-valuenow={props.used}
      aria-valuetext={`ε ${spent(props.used)} of ${limit(props.limit)}, ${share(props.used, props.limit)}`}
    >
      <rect className="meter-track" width="160" height="10" rx="5" />
      <rect className="meter-planned" width={160 * planned} height="10" rx="5" />
      <rect className={part >= 0.8 ? "meter-near" : "meter-used"} width={160 * part} height="10" rx="5" />
      <line className="meter-notch" x1="128" x2="128" y1="0" y2="10" />
    </svg>
  );
}
