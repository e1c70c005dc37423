import { describe, expect, it } from "vitest";

import { spread, type Label } from "../src/charts/labels";
import { lastPoint, roundsOf, type Series } from "../src/charts/model";
import { accuracyDomain, linear, nearest, roundTicks, tickFormat, zeroDomain } from "../src/charts/scales";

const label = (y: number, height = 10): Label => ({ anchor: y, y, height });

describe("labels at line ends", () => {
  it("stay where they belong when there is room", () => {
    expect(spread([label(80), label(20)], 0, 100)).toEqual([80, 20]);
  });

  it("move apart evenly when they would touch, in the order of their lines", () => {
    expect(spread([label(50), label(50)], 0, 100)).toEqual([45, 55]);
    expect(spread([label(52), label(50), label(51)], 0, 100)).toEqual([61, 41, 51]);
  });

  it("stay inside the chart", () => {
    expect(spread([label(0), label(2)], 0, 100)).toEqual([5, 15]);
    expect(spread([label(99), label(100)], 0, 100)).toEqual([85, 95]);
  });

  it("keep below their floor and push others down", () => {
    const [first = 0, second = 0] = spread([{ anchor: 10, y: 10, height: 10, floor: 12 }, label(14)], 0, 100);
    expect(first).toBe(17);
    expect(second).toBe(27);
  });

  it("never overlap, however many there are", () => {
    const labels = Array.from({ length: 9 }, (_, index) => label((index * 37) % 40, 8 + (index % 3)));
    const middles = spread(labels, 0, 100);
    const edges = labels
      .map(({ height }, index) => ({ top: (middles[index] ?? 0) - height / 2, height }))
      .sort((a, b) => a.top - b.top);
    for (const [index, edge] of edges.slice(1).entries()) {
      const above = edges[index];
      expect(edge.top).toBeGreaterThanOrEqual((above?.top ?? 0) + (above?.height ?? 0) - 1e-9);
    }
  });
});

describe("axes", () => {
  it("show whole rounds only, and fewer where there is less room", () => {
    expect(roundTicks(linear([0, 2], [0, 600]))).toEqual([0, 1, 2]);
    expect(roundTicks(linear([0, 13], [0, 250])).length).toBeLessThanOrEqual(5);
  });

  it("keep accuracy between 50 and 100 % so that runs compare, unless a run is below", () => {
    expect(accuracyDomain([0.7, 0.95])).toEqual([0.5, 1]);
    expect(accuracyDomain([])).toEqual([0.5, 1]);
    expect(accuracyDomain([0.4])).toEqual([0, 1]);
  });

  it("start at zero and end above the largest value", () => {
    const [low, high] = zeroDomain([0.68]);
    expect(low).toBe(0);
    expect(high).toBeGreaterThanOrEqual(0.68);
  });

  it("write all ticks alike", () => {
    const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1];
    expect(ticks.map(tickFormat(ticks))).toEqual(["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  });
});

describe("points", () => {
  const series: Series = {
    id: "a",
    name: "a",
    tone: "global",
    points: [
      { round: 1, value: 0.5 },
      { round: 2, value: null },
      { round: 3, value: 0.7 },
      { round: 4, value: null },
    ],
  };

  it("that were not released are neither a last value nor a stop of the crosshair", () => {
    expect(lastPoint(series.points)).toEqual({ round: 3, value: 0.7 });
    expect(roundsOf([series])).toEqual([1, 3]);
    expect(nearest([1, 3], 2.4)).toBe(3);
  });
});
