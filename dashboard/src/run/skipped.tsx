import type { RunDetail } from "../api/types";
import * as format from "../format/numbers";
import { InfoIcon } from "../ui/icons";

/** Objects of the run that could not be read: quiet, because the figures are right without them, but never silent. */
export function SkippedNotice({ skipped }: { skipped: RunDetail["skipped"] }) {
  if (skipped.count === 0) {
    return null;
  }
  const more = skipped.count - skipped.first.length;
  return (
    <details className="notice">
      <summary>
        <InfoIcon />
        <span>
          {format.plural(skipped.count, "object")} of this run could not be read. The figures are of all
          others.
        </span>
      </summary>
      <ul>
        {skipped.first.map((object) => (
          <li key={object.key}>
            <code>{object.key}</code> {object.reason}
          </li>
        ))}
        {more > 0 && <li>and {more} more; the log of the metrics API names them all</li>}
      </ul>
    </details>
  );
}
