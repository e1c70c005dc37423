import { describe, expect, it } from "vitest";

import type { MetricSeries, RunDetail } from "../src/api/types";
import { ACCURACY, EPSILON, lookOf, runsChart, type Compared } from "../src/compare/charts";
import { differences, shortNames } from "../src/compare/differences";
import { chosen, MOST, slotsIn, spelled, toggled } from "../src/compare/slots";

const ID = (letter: string) => letter.repeat(26);
const [A, B, C] = [ID("A"), ID("B"), ID("C")];

describe("places of runs", () => {
  it("are kept when another run is taken out, and filled by the next", () => {
    const slots = slotsIn(`${A},${B},${C}`);
    const without = toggled(slots, B);
    expect(without).toEqual([A, null, C]);
    expect(spelled(without)).toBe(`${A},,${C}`);
    expect(slotsIn(spelled(without) ?? "")).toEqual([A, null, C]);
    expect(toggled(without, ID("D"))).toEqual([A, ID("D"), C]);
  });

  it("are at most six, without doubles and what is no run", () => {
    expect(chosen(slotsIn(`${A},${A},no-run,<b>`))).toEqual([A]);
    const full = ["A", "B", "C", "D", "E", "F"].map(ID);
    expect(toggled(full, ID("G"))).toEqual(full);
    expect(slotsIn([...full, ID("G")].join(","))).toHaveLength(MOST);
    expect(spelled([null, null])).toBeNull();
  });

  it("have looks that differ in colour, shape and dash", () => {
    const looks = Array.from({ length: MOST }, (_, place) => lookOf(place).look);
    for (const part of ["tone", "shape", "dash"] as const) {
      expect(new Set(looks.map((look) => look[part])).size).toBe(MOST);
    }
  });
});

function run(id: string, given: Partial<RunDetail> = {}, epsilon = 1): RunDetail {
  const release = { noise_multiplier: 14.19, max_grad_norm: 0.1, sample_rate: 1, steps: 1, rounds: 13 };
  return {
    run_id: id,
    name: "breast-cancer",
    dataset: "breast-cancer-wisconsin@1",
    epsilon_target: epsilon,
    delta: 1e-5,
    round: 3,
    rounds: 13,
    public_validation: null,
    plan: {
      epsilon,
      delta: 1e-5,
      recipe: "fedsgd-logreg",
      strategy: "fedavg",
      sites: 3,
      train: release,
      centre: null,
      learning_rate: 1,
      average_from: 7,
      evaluate: null,
      contract_digest: "0".repeat(64),
      nominal_size: 460,
      adjacency: "add-remove",
      unit: "record",
      model: { kind: "logreg", n_features: 30, n_classes: 2 },
      min_reply_ms: 20,
    },
    ...given,
  } as unknown as RunDetail;
}

describe("settings", () => {
  it("come apart into what differs and what is the same in all", () => {
    const { differ, same } = differences([run(A), run(B, {}, 2)]);
    expect(differ).toEqual([{ name: "Target ε", values: ["1.00", "2.00"] }]);
    expect(same.map(({ name }) => name)).toContain("Noise σ, training");
  });

  it("name runs by the first thing in which all of them differ", () => {
    expect(shortNames([run(A), run(B, { name: "other" })])).toEqual(["breast-cancer", "other"]);
    expect(shortNames([run(A), run(B, {}, 2)])).toEqual(["ε 1.00", "ε 2.00"]);
    expect(shortNames([run(A), run(B)])).toEqual(["", ""]);
  });
});

function metric(series: Partial<MetricSeries["series"][number]>[]): MetricSeries {
  return { series } as unknown as MetricSeries;
}

describe("a chart of several runs", () => {
  const compared: Compared[] = [A, B].map((id, place) => ({
    ...lookOf(place),
    run: run(id),
    short: "",
    accuracy: metric(place === 0 ? [{ site: "global", rounds: [1, 2], values: [0.7, 0.8] }] : []),
    loss: metric([]),
    epsilon: metric([
      { site: "site-1", rounds: [0, 1], values: [0.1, 0.2] },
      { site: "site-2", rounds: [0, 1], values: [0.1, 0.3] },
    ]),
  }));

  it("says what was not released, and never draws it", () => {
    const { model } = runsChart(compared, ACCURACY);
    expect(model.series.map(({ points }) => points.length)).toEqual([2, 0]);
    expect(model.tooltip(2).map(({ name, value }) => [name, value])).toEqual([
      ["A", "80.0\u202f%"],
      ["B", "not released"],
    ]);
  });

  it("shows epsilon at the worst site", () => {
    const { table } = runsChart(compared, EPSILON);
    expect(table.rows[0]).toEqual(["1", "ε 0.30", "ε 0.30"]);
  });
});
