import { describe, expect, it } from "vitest";

import { limit, remaining, roundUp, share, spent, wilson } from "../src/format/numbers";

describe("numbers as a person reads them", () => {
  it("never understate what was spent", () => {
    expect(spent(0.9401)).toBe("0.95");
    expect(spent(0.94)).toBe("0.94");
    expect(spent(0.998971)).toBe("1.00");
    expect(roundUp(1e-9)).toBe("0.01");
  });
  it("never overstate what remains", () => {
    expect(remaining(6.539)).toBe("6.53");
    expect(remaining(-1)).toBe("0.00");
  });
  it("say 100 % only when nothing is left", () => {
    expect(share(7.999, 8)).toContain("99");
    expect(share(8, 8)).toContain("100");
  });
  it("keep a limit as it was typed", () => {
    expect([limit(8), limit(0.125)]).toEqual(["8.00", "0.125"]);
  });
  it("give the Wilson interval", () => {
    const [low, high] = wilson(110 / 114, 114);
    expect(low).toBeCloseTo(0.9132, 4);
    expect(high).toBeCloseTo(0.9863, 4);
  });
});
