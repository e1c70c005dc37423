/** Where everything of a chart goes, from its model and its size in pixels. Pure but for measuring text. */
import { area, line } from "d3-shape";

import { spread } from "./labels";
import { lastPoint, type ChartModel, type Point, type Tone } from "./model";
import { linear, roundTicks, type Scale } from "./scales";
import { textWidth } from "./text-width";

export interface PlacedLabel {
  id: string;
  tone: Tone;
  text: string;
  note: string | undefined;
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
  valueTicks: readonly number[];
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

export function layOut(model: ChartModel, width: number, height: number): Layout {
  const valueTicks = model.ticks ?? linear(model.values, [0, 1]).ticks(5);
  const tickWidth = Math.max(...valueTicks.map((value) => textWidth(model.format(value), "axis")));
  const plot = { left: Math.ceil(tickWidth) + 12, right: width - 8, top: 20, bottom: height - 28 };

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
  const placed = spread(
    ends.map(({ end, label }) => ({ y: y(end.value), height: label.note ? NOTE_HEIGHT : LABEL_HEIGHT })),
    plot.top - 8,
    plot.bottom + 6,
  );
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
      x: x(end.round) + LABEL_GAP,
      y: placed[index] ?? y(end.value),
    })),
    dots: (plot.right - plot.left) / Math.max(1, model.rounds[1] - model.rounds[0]) >= 16,
    shapes: {
      line: (points) =>
        line<Point>((point) => x(point.round), (point) => y(point.value ?? 0)).defined((point) => point.value !== null)(
          points,
        ) ?? "",
      area: (points) =>
        area<Point>((point) => x(point.round), y(model.values[0]), (point) => y(point.value ?? 0)).defined(
          (point) => point.value !== null,
        )(points) ?? "",
      band: (band) =>
        area<Band>((point) => x(point.round), (point) => y(point.low), (point) => y(point.high))(band) ?? "",
    },
  };
}
