import { describe, expect, it } from "vitest";

import type { RunPrivacy, SitePrivacy } from "../src/api/types";
import { linkTo, parseView, to } from "../src/api/view";
import { budgetsOf, byShare, closestToLimit, firstToLimit, listed, runEpsilon } from "../src/run/budget";

function site(
  name: string,
  spent: number[],
  limit: number | null = 8,
  runsLeft: number | null = 5,
): SitePrivacy {
  return {
    site: name,
    status: "within_budget",
    code: null,
    epsilon_limit: limit,
    epsilon_planned: limit,
    rounds: spent.map((_, index) => index),
    epsilon_run: spent.map((value) => value / 4),
    epsilon_spent: spent,
    runs_left: runsLeft,
    ledger_seq: null,
    ledger_head: null,
    policy_digest: null,
  };
}

function privacy(...sites: SitePrivacy[]): RunPrivacy {
  return {
    run_id: "01K",
    seq: "1-0",
    dataset: "d",
    epsilon_target: 1,
    delta: 1e-5,
    adjacency: "add-remove",
    unit: "record",
    noise_multiplier: 1,
    max_grad_norm: 1,
    sample_rate: 1,
    steps: 1,
    sites,
  };
}

describe("privacy over sites", () => {
  it("is worst at the largest share of a site's own limit, not at the largest ε", () => {
    const budgets = budgetsOf(privacy(site("large", [4], 8), site("small", [1.5], 2)));
    expect(closestToLimit(budgets)?.site).toBe("small");
  });

  it("leaves out sites that have said nothing yet", () => {
    expect(budgetsOf(privacy(site("silent", []), site("declined", [1], null)))).toEqual([]);
    expect(closestToLimit([])).toBeNull();
    expect(runEpsilon(privacy(site("silent", [])))).toBeNull();
  });

  it("counts the runs left only when every site's count is known", () => {
    const known = budgetsOf(privacy(site("a", [1], 8, 7), site("b", [1], 8, 3)));
    expect(firstToLimit(known)?.site).toBe("b");
    expect(firstToLimit(budgetsOf(privacy(site("a", [1], 8, 7), site("b", [1], 8, null))))).toBeNull();
  });

  it("lists the most spent site first, then those that have said nothing, by number", () => {
    const order = byShare([site("s-10", []), site("s-2", []), site("a", [1]), site("b", [2])]);
    expect(order.map((entry) => entry.site)).toEqual(["b", "a", "s-2", "s-10"]);
  });

  it("names few sites and counts many", () => {
    expect(listed(["a"])).toBe("a");
    expect(listed(["a", "b"])).toBe("a and b");
    expect(listed(["a", "b", "c"])).toBe("a, b and c");
    expect(listed(["a", "b", "c", "d"])).toBe("a, b and 2 more");
  });
});

describe("the view in the address", () => {
  it("is a link there and back, and nothing follows the newest run", () => {
    const view = to("ledger", { dataset: "a & b", site: "site-1" });
    expect(parseView(linkTo(view))).toEqual(view);
    expect(parseView(linkTo(to("run", { run: "01K" })))).toEqual(to("run", { run: "01K" }));
    expect(parseView("/somewhere/?run=")).toEqual(to("run"));
    expect(linkTo(to("run", { run: null }))).toBe("./");
  });

  it("is none where the address names no page", () => {
    expect(parseView("/elsewhere?run=01K").page).toBeNull();
  });
});
