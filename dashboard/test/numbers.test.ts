import { describe, expect, it } from "vitest";

import * as format from "../src/format/numbers";

describe("numbers as a person reads them", () => {
  it("never understate what was spent", () => {
    expect(format.spent(0.9401)).toBe("0.95");
    expect(format.spent(0.94)).toBe("0.94");
    expect(format.spent(0.998971)).toBe("1.00");
    expect(format.spent(1e-9)).toBe("0.01");
    expect(format.spent(0)).toBe("0.00");
    expect(format.spent(Infinity)).toBe("∞");
  });

  it("never overstate what remains", () => {
    expect(format.remaining(6.539)).toBe("6.53");
    expect(format.remaining(0.29)).toBe("0.29");
    expect(format.remaining(-1)).toBe("0.00");
  });

  it("round on the decimal spelling, whatever its exponent", () => {
    // 1.005 in binary is below 1.005: arithmetic by 100 would give 1.00.
    expect(format.roundUp(1.005)).toBe("1.01");
    expect(format.roundDown(1.15, 1)).toBe("1.1");
    expect(format.roundUp(2.5e21, 0)).toBe("2500000000000000000000");
  });

  it("say 100 % only when nothing is left", () => {
    expect(format.share(7.999, 8)).toBe("99\u202f%");
    expect(format.share(8, 8)).toBe("100\u202f%");
    expect(format.share(1, 0)).toBe("–");
  });

  it("keep a limit as it was typed", () => {
    expect([8, 0.5, 0.125].map(format.limit)).toEqual(["8.00", "0.50", "0.125"]);
  });

  it("give the 95 % Wilson interval", () => {
    const [low, high] = format.wilson(110 / 114, 114);
    expect(low).toBeCloseTo(0.9132, 4);
    expect(high).toBeCloseTo(0.9863, 4);
    expect(format.wilson(1, 10)[1]).toBeCloseTo(1, 12);
  });

  it("write δ, durations and counts", () => {
    expect(format.delta(1e-5)).toBe("1e−5");
    expect(format.milliseconds(41.4)).toBe("41\u202fms");
    expect(format.milliseconds(2400)).toBe("2.4\u202fs");
    expect(format.seconds(3725)).toBe("1\u202fh 2\u202fmin");
    expect([format.plural(1, "round"), format.plural(2, "round")]).toEqual(["1 round", "2 rounds"]);
  });
});
