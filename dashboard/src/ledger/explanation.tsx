import type { Account } from "../api/types";
import * as format from "../format/numbers";
import { Card } from "../ui/card";
import { example } from "./figures";

/** What the figures mean, and what this hub cannot know. */
export function Explanation({ accounts }: { accounts: readonly Account[] }) {
  const shown = example(accounts);
  return (
    <Card
      className="explanation"
      title="How to read this"
      note="What the figures mean, and what is not known here"
    >
      <dl>
        <div>
          <dt>Lifetime ε is composed, not added</dt>
          <dd>
            {shown
              ? `${shown.account.site}’s ${shown.runs} runs cost ε ${sameOr(shown.each)} each by themselves, and ε ${format.spent(shown.together)} together: `
              : "Several runs together cost less than the sum of their ε: "}
            their noise is independent, so the site composes every release in its ledger anew. Nothing here is
            a sum.
          </dd>
        </div>
        <div>
          <dt>The limit is the site’s, for the data set’s whole life</dt>
          <dd>
            Its own ledger charges a release before it is computed and refuses what does not fit. This page
            shows what the site told; it can change nothing.
          </dd>
        </div>
        <div>
          <dt>A refusal costs nothing, a late reply does</dt>
          <dd>
            A plan that is declined is never computed. A reply that comes after its round has closed is
            discarded here and stays charged there.
          </dd>
        </div>
        <div>
          <dt>Held-out records are counted apart</dt>
          <dd>
            They evaluate models and are in no training release. A record is one or the other, so its ε is the
            larger of the two, not their sum.
          </dd>
        </div>
        <div>
          <dt>Not known here</dt>
          <dd>
            Runs of other hubs, and releases whose reply never came. They are in the site’s lifetime ε all the
            same, as soon as it joins a run again: a lifetime ε may be more than the runs listed here explain,
            never less than what the site had spent when it told.
          </dd>
        </div>
      </dl>
    </Card>
  );
}

/** One figure where all runs cost the same, else the range. */
function sameOr(each: readonly number[]): string {
  const spelled = each.map((value) => format.spent(value));
  const [low, high] = [Math.min(...each), Math.max(...each)];
  return new Set(spelled).size === 1 ? (spelled[0] ?? "") : `${format.spent(low)} to ${format.spent(high)}`;
}
