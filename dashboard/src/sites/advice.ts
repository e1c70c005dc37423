/** What stands in a site's way, and what a person can do about it. */
import type { SiteDetail, SiteSummary } from "../api/types";

export interface Advice {
  title: string;
  text: string;
  /** To type, and where. */
  commands: readonly { where: string; command: string }[];
}

/** The most pressing first; none for a site that needs nothing. */
export function adviceFor(site: SiteSummary | SiteDetail): Advice[] {
  return [...standing(site), ...budget(site)];
}

function standing(site: SiteSummary): Advice[] {
  if (site.stock) {
    return [
      {
        title: "It runs Flower’s own node, which keeps no ledger.",
        text: "Nothing it sent is used. Start fedpriv’s site process there instead; it needs the same key.",
        commands: [{ where: "At the site", command: "fedpriv-site" }],
      },
    ];
  }
  switch (site.standing) {
    case "revoked":
      return [
        {
          title: "Its key was taken off the server’s allow-list.",
          text: "Nothing it sends is read. Its ledger keeps what was spent. If that was not meant, put its public key back into the server’s folder of sites; the server notices without a restart.",
          commands: [],
        },
      ];
    case "awaiting_approval":
      return [
        {
          title: "It waits for a person there to approve the plan.",
          text: "Nothing is charged meanwhile, and the server asks again until the run’s admission deadline. A plan that is denied costs nothing.",
          commands: [
            {
              where: "At the site, to read what is asked",
              command: `fedpriv approve show ${site.run_id ?? "RUN"}`,
            },
            { where: "To say yes", command: `fedpriv approve grant ${site.run_id ?? "RUN"} --by "NAME"` },
          ],
        },
      ];
    case "not_joined":
      // While the run is young it may well be on its way.
      if (site.run_active) return [];
      return [
        {
          title: "It did not answer the plan of its newest run.",
          text: "Nothing was charged. See whether its process runs and reaches the server; its log says what it waits for.",
          commands: [{ where: "At the site, if its process has ended", command: "fedpriv-site" }],
        },
      ];
    case "offline":
      return [
        {
          title: site.run_active
            ? "The run waits for it until the round’s deadline."
            : "It had not come back when its newest run ended.",
          text: "It takes part again by itself once it reaches the server; what it had released is not paid twice. See whether its process runs and reaches the server; its log says what it waits for.",
          commands: [{ where: "At the site, if its process has ended", command: "fedpriv-site" }],
        },
      ];
    default:
      return [];
  }
}

function budget(site: SiteSummary | SiteDetail): Advice[] {
  const none = "accounts" in site && site.accounts.some((account) => account.runs_left === 0);
  if (site.budget === "at_limit" || none) {
    return [
      {
        title: "Its lifetime budget cannot pay for another run like the newest.",
        text: "A smaller run may still fit: the plan says how large the largest is. Raising the limit is the site’s own decision, and weakens what was promised for these records. Records that were never used may begin a ledger of their own, as another data set; these may not.",
        commands: [
          {
            where: "At the site",
            command: "fedpriv ledger export | fedpriv plan --history - --epsilons 0.25,0.5,1",
          },
        ],
      },
    ];
  }
  return refusal(site.code);
}

/** The site's own log has the reason in full; only the code crosses the border. */
function refusal(code: string | null): Advice[] {
  const text = code === null ? undefined : REMEDIES[code];
  if (code === null || text === undefined) return [];
  return [{ title: `It declined with ${code}.`, text, commands: [] }];
}

const REMEDIES: Record<string, string> = {
  POLICY_REFUSED:
    "The plan asks for more than the site’s policy allows, or a person there denied it. Ask for less: the site’s log names the line.",
  BUDGET_EXHAUSTED:
    "The plan does not fit into what is left of the data set’s lifetime budget. A smaller run may: try a smaller --epsilon.",
  CONTRACT_MISMATCH: "Site and server hold different data contracts. Give both the same file.",
  UNKNOWN_APP: "The site’s image is of another version than the server. Run the same version on both sides.",
  BAD_REQUEST: "The site did not understand what was asked. Run the same version on both sides.",
  APPROVAL_NEEDED:
    "Nobody there approved the plan before the admission deadline. Start the run again with a longer --admission-deadline, and tell them.",
  LEDGER_UNAVAILABLE:
    "The site’s ledger cannot be read or written, so it releases nothing. Its log says why: a full disk, a missing mount, a lost file.",
  LEDGER_ROLLED_BACK:
    "The server has seen entries that the ledger there no longer has: it was set back, forked or copied. Restore the newest one; it releases nothing before.",
  INTERNAL: "Something failed at the site that nobody foresaw. Its own log has the reason.",
};
