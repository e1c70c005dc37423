/** Where everything of a chart goes, from its model and its size in pixels. Pure but for measuring text. */
import { area, line } from "d3-shape";

import { spread, type Label } from "./labels";
import { lastPoint, type ChartModel, type Point, type Tone } from "./model";
import { linear, roundTicks, tickFormat, type Scale } from "./scales";
import { textWidth } from "./text-width";

export interface PlacedLabel {
  id: string;
  tone: Tone;
  text: string;
  note: string | undefined;
  /** Other lines may pass behind it. */
  haloed: boolean;
  x: number;
  y: number;
}

interface Band {
  round: number;
  low: number;
  high: number;
}

export interface Layout {
  width: number;
  height: number;
  plot: { left: number; right: number; top: number; bottom: number };
  x: Scale;
  y: Scale;
  valueTicks: readonly { value: number; text: string }[];
  roundTicks: readonly number[];
  labels: readonly PlacedLabel[];
  /** Rounds are far enough apart for a dot at each. */
  dots: boolean;
  shapes: {
    line: (points: readonly Point[]) => string;
    area: (points: readonly Point[]) => string;
    band: (band: readonly Band[]) => string;
  };
}

const LABEL_GAP = 11;
const LABEL_HEIGHT = 15;
const NOTE_HEIGHT = 29;
/** Between a line and a label below or above it. */
const BESIDE = 7;

export function layOut(model: ChartModel, width: number, height: number): Layout {
  const ticks = model.ticks ?? linear(model.values, [0, 1]).ticks(5);
  const format = model.format ?? tickFormat(ticks);
  const valueTicks = ticks.map((value) => ({ value, text: format(value) }));
  const tickWidth = Math.max(...valueTicks.map(({ text }) => textWidth(text, "axis")));
  const plot = { left: Math.ceil(tickWidth) + 12, right: width - 8, top: 14, bottom: height - 28 };

  const ends = model.series.flatMap((series) => {
    const end = lastPoint(series.points);
    return series.label && end ? [{ series, end, label: series.label }] : [];
  });
  const wide = (label: { text: string; note?: string }) =>
    LABEL_GAP + Math.max(textWidth(label.text, "label"), textWidth(label.note ?? "", "note"));
  // Room to the right only as far as a label would stick out of the plot.
  const room = (end: number) => {
    const [from, to] = model.rounds;
    return plot.left + ((plot.right - plot.left) * (end - from)) / Math.max(1, to - from);
  };
  for (const { end, label } of ends) {
    const over = room(end.round) + wide(label) - (width - 4);
    if (over > 0) plot.right = Math.max(plot.left + 60, plot.right - over);
  }

  const x = linear(model.rounds, [plot.left, plot.right]);
  const y = linear(model.values, [plot.bottom, plot.top]);
  const rules = (model.rules ?? []).map((rule) => y(rule.value));
  /** Beside its line's end; but where a dotted line goes on from there, or a rule runs through, below or above that. */
  const wish = ({ series, end, label }: (typeof ends)[number]): Label => {
    const height = label.note ? NOTE_HEIGHT : LABEL_HEIGHT;
    const anchor = y(end.value);
    const { planned } = series;
    const struck =
      x(end.round) < plot.right - 1 && rules.some((rule) => Math.abs(rule - anchor) < NOTE_HEIGHT / 2);
    if (!planned && !struck) return { anchor, y: anchor, height };
    const slope = planned ? (anchor - y(planned.value)) / Math.max(1, x(planned.round) - x(end.round)) : 0;
    const bottom = anchor - slope * wide(label) - BESIDE;
    const free = [plot.top - 8, ...rules.filter((rule) => rule <= anchor)].every(
      (edge) => bottom - height > edge + 4,
    );
    // Other sites' labels gather below the highlighted one, which has the largest share: it leaves them the room.
    if (ends.length > 1 && free) return { anchor, y: bottom - height / 2, height };
    return { anchor, y: anchor + BESIDE + height / 2, height, floor: anchor + BESIDE };
  };
  const placed = spread(ends.map(wish), plot.top - 8, plot.bottom);
  return {
    width,
    height,
    plot,
    x,
    y,
    valueTicks,
    roundTicks: roundTicks(x),
    labels: ends.map(({ series, end, label }, index) => ({
      id: series.id,
      tone: series.tone,
      text: label.text,
      note: label.note,
      haloed: series.shape !== undefined,
      x: x(end.round) + LABEL_GAP,
      y: placed[index] ?? y(end.value),
    })),
    dots: (plot.right - plot.left) / Math.max(1, model.rounds[1] - model.rounds[0]) >= 16,
    shapes: {
      line: (points) =>
        line<Point>(
          (point) => x(point.round),
          (point) => y(point.value ?? 0),
        ).defined((point) => point.value !== null)(points) ?? "",
      area: (points) =>
        area<Point>(
          (point) => x(point.round),
          y(model.values[0]),
          (point) => y(point.value ?? 0),
        ).defined((point) => point.value !== null)(points) ?? "",
      band: (band) =>
        area<Band>(
          (point) => x(point.round),
          (point) => y(point.low),
          (point) => y(point.high),
        )(band) ?? "",
    },
  };
}
