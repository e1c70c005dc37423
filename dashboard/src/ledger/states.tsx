import { to } from "../api/view";
import { Banner } from "../states/banner";
import { Message } from "../states/message";
import { InfoIcon, Shield } from "../ui/icons";
import { ViewLink } from "../ui/view-link";

/** Nothing was ever asked of any site. */
export function EmptyLedger({ dataset }: { dataset: string | null }) {
  if (dataset !== null) {
    return (
      <Message icon={<Shield />} tone="global" title="No run used this data set">
        <p>No run of this hub names the data set {dataset}, or your key does not show it.</p>
        <ViewLink className="button primary" view={to("ledger")}>
          Show every data set
        </ViewLink>
      </Message>
    );
  }
  return (
    <Message icon={<Shield />} tone="global" title="Nothing has been charged yet">
      <p>
        A site’s ledger begins with its first run. Each run then shows up here with what it cost every site.
      </p>
      <dl className="commands">
        <dt>What a run would cost, before anything is spent</dt>
        <dd>
          <code>fedpriv plan</code>
        </dd>
        <dt>Start one</dt>
        <dd>
          <code>fedpriv run --follow</code>
        </dd>
      </dl>
    </Message>
  );
}

export function NoSuchSite({ site }: { site: string }) {
  return (
    <Message icon={<InfoIcon />} tone="global" title={`No account of ${site}`}>
      <p>No run of this hub names a site {site} with these data sets, or your key does not show it.</p>
      <ViewLink className="button primary" view={to("ledger")}>
        Show every site
      </ViewLink>
    </Message>
  );
}

/** Whoever sees one site alone is told so: an empty place is not a consortium of one. */
export function OnlySite({ site }: { site: string | null }) {
  if (site === null) return null;
  return (
    <Banner kind="info" title={`You see ${site} alone.`}>
      Your key is that of a site; the others’ figures are theirs.
    </Banner>
  );
}
