import { describe, expect, it } from "vitest";

import type { Frontier, FrontierRun, Frontiers } from "../src/api/types";
import { beside, boxOf, touch } from "../src/charts/beside";
import { fileName, wrapped } from "../src/charts/caption";
import { frontierOf, frontierTable, planeModel, steps, trailOf, worst } from "../src/frontier/model";

function run(id: string, given: Partial<FrontierRun> = {}): FrontierRun {
  return {
    run_id: id,
    name: `run-${id}`,
    state: "finished",
    recipe: "fedsgd-logreg",
    created_at: "2026-01-05T09:00:00Z",
    sites: 3,
    round: 13,
    rounds: 13,
    noise_multiplier: 14.19,
    sample_rate: 1,
    epsilon_target: 1,
    epsilon_run: 0.9994,
    closest_budget: { site: "site-2", epsilon_spent: 2, epsilon_limit: 8, share: 0.25 },
    value: 0.93,
    low: 0.87,
    high: 0.97,
    missing: null,
    held_out: null,
    pareto: true,
    ...given,
  };
}

function frontier(runs: FrontierRun[]): Frontier {
  return {
    dataset: "breast-cancer-wisconsin@1",
    contract_digest: "0".repeat(64),
    delta: 1e-5,
    adjacency: "add-remove",
    unit: "record",
    provenance: "public",
    public_validation: { name: "wisconsin-public-fifth", size: 113 },
    runs,
  };
}

const none = new Map<string, never>();

describe("the steps of what no other run beats", () => {
  it("leave out what costs more and gives no more, whatever order the points come in", () => {
    const points = [
      { x: 2, y: 0.9 },
      { x: 1, y: 0.9 },
      { x: 0.5, y: 0.8 },
      { x: 1, y: 0.7 },
    ];
    expect(steps(points)).toEqual([
      { x: 0.5, y: 0.8 },
      { x: 1, y: 0.9 },
    ]);
    expect(steps([])).toEqual([]);
  });
});

describe("a frontier", () => {
  it("is the one that most of the chosen runs are on, and none for runs that are on none", () => {
    const answer = { frontiers: [frontier([run("a")]), frontier([run("b"), run("c")])] } as Frontiers;
    expect(frontierOf(answer, ["a", "b", "c"])?.runs[0]?.run_id).toBe("b");
    expect(frontierOf(answer, ["z"])).toBeNull();
  });

  it("draws no run without a value, and says in the table why", () => {
    const shown = frontier([
      run("a"),
      run("b", { value: null, low: null, high: null, missing: "not_released" }),
    ]);
    const model = planeModel({ frontier: shown, cost: "run", singled: none });
    expect(model.points.map(({ id }) => id)).toEqual(["a"]);
    expect(frontierTable(shown).rows[1]?.[3]).toBe("not released: would cost privacy");
  });

  it("shows the limit where a run comes near it, and always for the lifetime", () => {
    const shown = frontier([run("a")]);
    expect(planeModel({ frontier: shown, cost: "run", singled: none }).limit).toBeNull();
    expect(planeModel({ frontier: shown, cost: "lifetime", singled: none }).limit?.value).toBe(1);
    const near = planeModel({
      frontier: frontier([run("a", { epsilon_run: 7 })]),
      cost: "run",
      singled: none,
    });
    expect(near.limit).toEqual({ value: 8, text: "Lifetime limit ε 8.00" });
    expect(near.x.domain[1]).toBeGreaterThan(8);
  });

  it("draws halted runs as diamonds, and writes σ only where runs differ in it", () => {
    const same = planeModel({
      frontier: frontier([run("a"), run("b", { state: "halted" })]),
      cost: "run",
      singled: none,
    });
    expect(same.points.map(({ shape, label }) => [shape, label])).toEqual([
      ["circle", ""],
      ["diamond", ""],
    ]);
    const other = planeModel({
      frontier: frontier([run("a"), run("b", { noise_multiplier: 9.407 })]),
      cost: "run",
      singled: none,
    });
    expect(other.points.map(({ label }) => label)).toEqual(["σ 14.2", "σ 9.41"]);
  });
});

describe("the worst over sites", () => {
  it("carries a site's last value on through rounds in which it released nothing", () => {
    const lines = [
      { rounds: [1, 2, 3], values: [0.1, 0.2, 0.3] },
      { rounds: [1, 3], values: [0.25, 0.28] },
    ];
    expect(worst(lines).map(({ value }) => value)).toEqual([0.25, 0.25, 0.3]);
    expect(worst([])).toEqual([]);
  });

  it("makes a trail only of rounds in which both are known", () => {
    const cost = [
      { round: 0, value: 0.1 },
      { round: 1, value: 0.2 },
    ];
    const accuracy = [
      { round: 1, value: 0.7 },
      { round: 2, value: 0.8 },
    ];
    expect(trailOf(cost, accuracy)).toEqual([{ x: 0.2, y: 0.7 }]);
  });
});

describe("labels beside points", () => {
  const bounds = { left: 0, right: 300, top: 0, bottom: 200 };

  it("touch no mark and no other label, and are left out where there is no room", () => {
    const points = Array.from({ length: 24 }, (_, index) => ({
      x: 100 + (index % 5) * 9,
      y: 90 + index * 2,
      width: 40,
    }));
    const taken = points.map(({ x, y }) => boxOf(x, y));
    const placed = beside(points, taken, bounds).flatMap((place) =>
      place ? [{ left: place.x, right: place.x + 40, top: place.y - 7.5, bottom: place.y + 7.5 }] : [],
    );
    expect(placed.length).toBeGreaterThan(0);
    expect(placed.length).toBeLessThan(points.length);
    for (const [index, box] of placed.entries()) {
      expect(taken.some((mark) => touch(box, mark))).toBe(false);
      expect(placed.slice(index + 1).some((other) => touch(box, other))).toBe(false);
    }
  });

  it("stay inside the chart", () => {
    const [place] = beside([{ x: 295, y: 4, width: 40 }], [], bounds);
    expect(place && place.x + 40).toBeLessThanOrEqual(300);
    expect(place && place.y - 7.5).toBeGreaterThanOrEqual(0);
  });
});

describe("a saved picture", () => {
  const caption = {
    title: "Privacy budget used",
    note: "",
    source: "",
    at: new Date("2026-01-05T09:00:07.25Z"),
  };

  it("has a name that sorts by time", () => {
    expect(fileName(caption, "png")).toBe("fedpriv_20260105T090007Z_privacy-budget-used.png");
  });

  it("breaks its note between words", () => {
    expect(wrapped("one two three", 7, (text) => text.length)).toEqual(["one two", "three"]);
    expect(wrapped("unbreakable", 3, (text) => text.length)).toEqual(["unbreakable"]);
  });
});
