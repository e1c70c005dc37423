import type { PlanAnswer } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { Meter } from "../run/meter";
import { Card } from "../ui/card";
import { CheckIcon, StopIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { changed, type Query } from "./question";

/** What the run would do to each site's budget, by what the site told last. */
export function SiteCosts({ answer, query }: { answer: PlanAnswer; query: Query }) {
  const { sites, contract, history } = answer;
  return (
    <Card
      className="site-costs"
      title="Cost at each site"
      note={`Lifetime budgets of ${contract.dataset}, as the sites told them last. Choose a site to plan against it.`}
    >
      {sites.length === 0 ? (
        <p className="nothing">
          No site has told of this data set yet. A site's own ledger knows best:{" "}
          <code>fedpriv ledger export … | fedpriv plan --history -</code>
        </p>
      ) : (
        <div className="table-scroll" role="region" aria-label="Cost at each site, table" tabIndex={0}>
          <table className="plan-table">
            <thead>
              <tr>
                <th scope="col">Site</th>
                <th scope="col" className="wide detail">
                  Share of limit
                </th>
                <th scope="col" className="number detail">
                  ε spent
                </th>
                <th scope="col" className="number">
                  ε after
                </th>
                <th scope="col" className="number">
                  Such runs
                </th>
                <th scope="col">Budget</th>
              </tr>
            </thead>
            <tbody>
              {sites.map((site) => (
                <tr key={site.site} className={site.site === history.site ? "chosen" : undefined}>
                  <th scope="row">
                    <ViewLink
                      view={to("plan", changed(query, { site: site.site, spent: "" }))}
                      current={site.site === history.site}
                      replace
                    >
                      {site.site}
                    </ViewLink>
                  </th>
                  <td className="wide detail">
                    <Meter
                      budget={{
                        site: site.site,
                        limit: site.epsilon_limit,
                        spent: site.epsilon_spent,
                        planned: site.after,
                        runsLeft: site.runs_that_fit,
                      }}
                    />
                  </td>
                  <td className="number detail">{format.spent(site.epsilon_spent)}</td>
                  <td className="number">
                    {format.spent(site.after)}
                    <span className="of"> / {format.limit(site.epsilon_limit)}</span>
                  </td>
                  <td className="number">{site.runs_that_fit.toLocaleString("en")}</td>
                  <td>
                    <span className={`status tone-${site.fits ? "ok" : "limit"}`}>
                      {site.fits ? <CheckIcon /> : <StopIcon />}
                      {site.fits ? "can pay" : "cannot pay"}
                    </span>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {answer.sites_left_out > 0 && (
        <p className="note plan-foot">{format.plural(answer.sites_left_out, "further site")} not shown.</p>
      )}
    </Card>
  );
}
