/** What a chart of points in a plane is told to draw, and where everything goes. Pure but for measuring text. */
import { beside, boxOf, type Beside } from "./beside";
import type { Shape } from "./marks";
import type { TooltipRow, Tone } from "./model";
import { linear, type Scale } from "./scales";
import { textWidth } from "./text-width";

export interface PlanePoint {
  id: string;
  x: number;
  y: number;
  tone: Tone;
  shape: Shape;
  /** Drawn filled, above the others, with its interval, and labelled before them. */
  singled: boolean;
  interval?: readonly [number, number] | null;
  label: string;
  /** What a tooltip says, and a screen reader. */
  title: string;
  rows: readonly TooltipRow[];
}

export interface Place {
  x: number;
  y: number;
}

export interface Axis {
  domain: readonly [number, number];
  format: (value: number) => string;
}

export interface PlaneModel {
  name: string;
  x: Axis & { name: string };
  y: Axis;
  /** By x, then y. */
  points: readonly PlanePoint[];
  /** The best that can be had for each x: corners of its steps, by x. */
  steps: readonly Place[];
  /** Where a singled-out point came from. */
  trail: readonly Place[];
  /** Nothing may be beyond this x. */
  limit: { value: number; text: string } | null;
}

export interface PlaneLayout {
  width: number;
  height: number;
  plot: { left: number; right: number; top: number; bottom: number };
  x: Scale;
  y: Scale;
  xTicks: readonly number[];
  yTicks: readonly number[];
  labels: readonly { point: PlanePoint; at: Beside }[];
}

export function layOutPlane(model: PlaneModel, width: number, height: number): PlaneLayout {
  const yTicks = linear(model.y.domain, [0, 1]).ticks(5);
  const tickWidth = Math.max(...yTicks.map((tick) => textWidth(model.y.format(tick), "axis")));
  const plot = { left: Math.ceil(tickWidth) + 12, right: width - 8, top: 16, bottom: height - 44 };
  const x = linear(model.x.domain, [plot.left, plot.right]);
  const y = linear(model.y.domain, [plot.bottom, plot.top]);
  const wanted = model.points
    .filter((point) => point.label !== "")
    .toSorted((a, b) => Number(b.singled) - Number(a.singled));
  const taken = model.points.map((point) => boxOf(x(point.x), y(point.y)));
  for (const { singled, interval, x: at } of model.points) {
    if (singled && interval) {
      taken.push({ left: x(at) - 4, right: x(at) + 4, top: y(interval[1]), bottom: y(interval[0]) });
    }
  }
  if (model.limit) {
    const at = x(model.limit.value);
    const text = textWidth(model.limit.text, "label");
    taken.push({ left: at - 1, right: at + 1, top: plot.top, bottom: plot.bottom });
    taken.push({ left: at - text - 8, right: at, top: 0, bottom: plot.top + 12 });
  }
  const places = beside(
    wanted.map((point) => ({ x: x(point.x), y: y(point.y), width: textWidth(point.label, "label") })),
    taken,
    { left: plot.left + 2, right: plot.right, top: plot.top - 14, bottom: plot.bottom },
  );
  return {
    width,
    height,
    plot,
    x,
    y,
    xTicks: x.ticks(Math.max(2, Math.floor((plot.right - plot.left) / 72))),
    yTicks,
    labels: wanted.flatMap((point, index) => {
      const at = places[index];
      return at ? [{ point, at }] : [];
    }),
  };
}

/** The steps as a path: along at what was had so far, then up to what the next cost gives. */
export function stepPath(steps: readonly Place[], x: Scale, y: Scale): string {
  return steps
    .map((step, index) => (index === 0 ? `M${x(step.x)},${y(step.y)}` : `H${x(step.x)}V${y(step.y)}`))
    .join("");
}

/** The point that is nearest to a place in pixels, if one is within reach. */
export function pointNear(layout: PlaneLayout, points: readonly PlanePoint[], left: number, top: number) {
  let best: PlanePoint | null = null;
  let least = 32;
  for (const point of points) {
    const distance = Math.hypot(layout.x(point.x) - left, layout.y(point.y) - top);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}
