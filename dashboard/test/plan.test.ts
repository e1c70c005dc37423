import { describe, expect, test } from "vitest";

import {
  ACCEPTABLE,
  asked,
  CEILING,
  changed,
  DELTA,
  EPSILON,
  fromSlider,
  nearestOf,
  read,
  SITES,
  SLIDER,
  toSlider,
  twoDigits,
  typed,
} from "../src/plan/question";

describe("the address of a plan", () => {
  test("holds what was chosen and leaves out what is taken anyway", () => {
    expect(changed({}, { epsilon: "2", sites: "3" })).toEqual({ epsilon: "2" });
    expect(changed({ epsilon: "2", site: "site-1" }, { epsilon: "1", site: "", spent: "4" })).toEqual({
      spent: "4",
    });
  });

  test("asks the API with its own parameters only, and with a curve where a loss is known", () => {
    const query = new URLSearchParams(asked({ epsilon: "2", run: "01K", theme: "dark" }));
    expect([...query.keys()]).toEqual(["epsilon", "epsilons"]);
    expect(query.get("epsilons")?.split(",").length).toBeLessThanOrEqual(24);
    const mlp = new URLSearchParams(asked({ recipe: "fedavg-mlp" }));
    expect(mlp.get("epsilons")).toBe("0.5,1,2,3,8");
  });
});

describe("a number that is typed", () => {
  test("stands in the address as the API takes it", () => {
    expect(read(ACCEPTABLE, "1.1")).toBe("0.011");
    expect(read(CEILING, " 97,7 ")).toBe("0.977");
    expect(typed(CEILING, { ceiling: "0.977" })).toBe("97.7");
    expect(typed(ACCEPTABLE, {})).toBe("1");
    expect(read(DELTA, "1e-6")).toBe("0.000001");
    expect(typed(EPSILON, { epsilon: "much" })).toBe("much");
  });

  test("is refused where it is none, or out of range", () => {
    for (const text of ["-1", "0", "51", "one", "1..2", "Infinity", "NaN"])
      expect(read(EPSILON, text)).toBeNull();
    expect(read(SITES, "2.5")).toBeNull();
    expect(read(EPSILON, "  ")).toBe("");
  });

  test("has two significant digits where it is a size", () => {
    expect([460, 1200, 7, 95_000_000].every(twoDigits)).toBe(true);
    expect([461, 1234, 1010].some(twoDigits)).toBe(false);
  });
});

describe("the slider", () => {
  test("goes from end to end in equal factors, and back", () => {
    expect(fromSlider(0)).toBe(SLIDER.least);
    expect(fromSlider(SLIDER.steps)).toBe(SLIDER.most);
    for (const epsilon of [0.1, 0.5, 1, 2.5, 8, 16]) {
      expect(Math.abs(fromSlider(toSlider(epsilon)) / epsilon - 1)).toBeLessThan(0.05);
    }
    expect(toSlider(0.001)).toBe(0);
    expect(toSlider(50)).toBe(SLIDER.steps);
  });

  test("finds the nearest epsilon on its own scale", () => {
    expect(nearestOf([0.1, 1, 10], 0.33)).toBe(1);
    expect(nearestOf([0.1, 1, 10], 0.3)).toBe(0.1);
  });
});
