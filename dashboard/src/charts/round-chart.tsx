/**
 * A line chart over rounds, in SVG: real text, the theme's colours, crisp in print, and readable by keyboard.
 *
 * For assistive technology it is a slider: one tab stop whose arrow keys move through the rounds and whose value
 * text says the figures of the round. A screen reader speaks that by itself, so no live region repeats it.
 */
import { memo, useId, useMemo, type KeyboardEvent, type PointerEvent } from "react";

import { setCrosshair, useCrosshair } from "./crosshair";
import { layOut, type Layout } from "./layout";
import { Mark } from "./marks";
import { describe, lastPoint, placeName, roundsOf, type ChartModel, type Series } from "./model";
import { nearest } from "./scales";
import { Tooltip } from "./tooltip";
import { textWidth } from "./text-width";
import { useWidth } from "./use-width";

export const CHART_HEIGHT = 220;
/** Wider than the others, and a little taller. */
export const FRONTIER_HEIGHT = 268;

export function RoundChart({ model }: { model: ChartModel }) {
  const [element, width] = useWidth<HTMLDivElement>();
  const rounds = useMemo(() => roundsOf(model.series), [model]);
  const layout = useMemo(() => (width > 0 ? layOut(model, width, CHART_HEIGHT) : null), [model, width]);
  const last = rounds.at(-1) ?? 0;

  function move(event: PointerEvent) {
    if (!layout || rounds.length === 0) return;
    const left = event.currentTarget.getBoundingClientRect().left;
    setCrosshair(nearest(rounds, layout.x.invert(event.clientX - left)));
  }

  return (
    <div className="chart" ref={element} style={{ height: CHART_HEIGHT }}>
      {layout && (
        <>
          <Drawing model={model} layout={layout} />
          <Slider model={model} rounds={rounds} last={last} onPointer={move} />
          <Overlay model={model} layout={layout} rounds={rounds} />
        </>
      )}
    </div>
  );
}

interface SliderProps {
  model: ChartModel;
  rounds: readonly number[];
  last: number;
  onPointer: (event: PointerEvent) => void;
}

function Slider({ model, rounds, last, onPointer }: SliderProps) {
  const crosshair = useCrosshair();
  const round = rounds.length > 0 ? nearest(rounds, crosshair ?? last) : last;

  function press(event: KeyboardEvent) {
    const index = rounds.indexOf(round);
    const target = {
      ArrowLeft: index - 1,
      ArrowDown: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index + 1,
      PageDown: index - 10,
      PageUp: index + 10,
      Home: 0,
      End: rounds.length - 1,
    }[event.key];
    if (event.key === "Escape") setCrosshair(null);
    else if (target !== undefined) {
      event.preventDefault();
      setCrosshair(rounds[Math.max(0, Math.min(target, rounds.length - 1))] ?? null);
    }
  }

  return (
    <div
      className="chart-slider"
      role="slider"
      tabIndex={0}
      aria-roledescription="chart"
      aria-label={model.name}
      aria-valuemin={rounds[0] ?? 0}
      aria-valuemax={last}
      aria-valuenow={round}
      aria-valuetext={rounds.length > 0 ? describe(model, round) : "no round yet"}
      onKeyDown={press}
      onFocus={(event) => {
        if (event.currentTarget.matches(":focus-visible")) setCrosshair(last);
      }}
      onBlur={() => {
        setCrosshair(null);
      }}
      onPointerMove={onPointer}
      onPointerDown={onPointer}
      onPointerLeave={() => {
        setCrosshair(null);
      }}
    />
  );
}

const Drawing = memo(function Drawing({ model, layout }: { model: ChartModel; layout: Layout }) {
  const tint = useId();
  const { x, y, plot } = layout;
  return (
    <svg
      className="chart-drawing"
      width={layout.width}
      height={layout.height}
      aria-hidden="true"
      focusable="false"
    >
      <defs>
        {(["global", "privacy"] as const).map((tone) => (
          <linearGradient
            key={tone}
            id={`${tint}-${tone}`}
            x1="0"
            y1="0"
            x2="0"
            y2="1"
            className={`tone-${tone}`}
          >
            <stop offset="0" stopColor="currentColor" stopOpacity="0.24" />
            <stop offset="1" stopColor="currentColor" stopOpacity="0.04" />
          </linearGradient>
        ))}
      </defs>
      <g className="axis">
        {layout.valueTicks.map(({ value, text }) => (
          <g key={value} transform={`translate(0 ${y(value)})`}>
            <line className="grid" x1={plot.left} x2={plot.right} />
            <text x={plot.left - 10} dy="0.34em" textAnchor="end">
              {text}
            </text>
          </g>
        ))}
        {layout.roundTicks.map((round) => (
          <text key={round} x={x(round)} y={plot.bottom + 19} textAnchor="middle">
            {model.places ? model.places.tick(round) : round}
          </text>
        ))}
      </g>
      {model.rules?.map((rule) => (
        <g key={rule.text} className={`rule tone-${rule.tone}`} transform={`translate(0 ${y(rule.value)})`}>
          <line x1={plot.left} x2={plot.right} />
          <text x={plot.right} y={-7} textAnchor="end">
            {textWidth(rule.text, "label") < plot.right - plot.left ? rule.text : rule.short}
          </text>
        </g>
      ))}
      {model.series.map((series) => (
        <Line key={series.id} series={series} layout={layout} fill={`url(#${tint}-${series.tone})`} />
      ))}
      {layout.labels.map((label) => (
        <text
          key={label.id}
          className={`label ${label.haloed ? "haloed " : ""}tone-${label.tone}`}
          x={label.x}
          y={label.y}
        >
          <tspan dy={label.note ? "-0.3em" : "0.34em"}>{label.text}</tspan>
          {label.note && (
            <tspan className="label-note" x={label.x} dy="1.25em">
              {label.note}
            </tspan>
          )}
        </text>
      ))}
    </svg>
  );
});

function Line({ series, layout, fill }: { series: Series; layout: Layout; fill: string }) {
  const { x, y, shapes } = layout;
  const end = lastPoint(series.points);
  const points = series.points.filter(
    (point): point is { round: number; value: number } => point.value !== null,
  );
  return (
    <g className={`series tone-${series.tone}`}>
      {series.band && <path className="band" d={shapes.band(series.band)} />}
      {series.filled && <path d={shapes.area(series.points)} fill={fill} />}
      {!series.scattered && (
        <path className="line" d={shapes.line(series.points)} strokeDasharray={series.dash} />
      )}
      {series.intervals?.map(({ round, low, high }) => (
        <path key={round} className="whisker" d={whisker(x(round), y(low), y(high))} />
      ))}
      {end && series.planned && (
        <path
          className="planned"
          d={`M${x(end.round)},${y(end.value)}L${x(series.planned.round)},${y(series.planned.value)}`}
        />
      )}
      {(series.scattered ?? (layout.dots && series.tone !== "context")) &&
        points.map(({ round, value }) =>
          series.scattered ? (
            <Mark
              key={round}
              className="release"
              shape={series.shape ?? "circle"}
              x={x(round)}
              y={y(value)}
            />
          ) : (
            <circle key={round} className="dot" cx={x(round)} cy={y(value)} r={2.25} />
          ),
        )}
      {end && !series.scattered && series.tone !== "context" && (
        <Mark className="end" shape={series.shape ?? "circle"} x={x(end.round)} y={y(end.value)} />
      )}
    </g>
  );
}

/** An interval as a line with short ends. */
export function whisker(x: number, low: number, high: number): string {
  return `M${x - 3.5},${low}h7m-3.5,0V${high}m-3.5,0h7`;
}

interface OverlayProps {
  model: ChartModel;
  layout: Layout;
  rounds: readonly number[];
}

/** Crosshair and tooltip: the only part that is drawn again when the pointer moves. */
function Overlay({ model, layout, rounds }: OverlayProps) {
  const round = useCrosshair();
  if (round === null || !rounds.includes(round)) return null;
  const { x, y, plot } = layout;
  const at = x(round);
  return (
    <div className="chart-overlay" aria-hidden="true">
      <svg width={layout.width} height={layout.height} focusable="false">
        <line className="crosshair" x1={at} x2={at} y1={plot.top} y2={plot.bottom} />
        {model.series
          .filter((series) => series.tone !== "context")
          .map((series) => {
            const value = series.points.find((point) => point.round === round)?.value;
            return value == null ? null : (
              <Mark
                key={series.id}
                className={`end tone-${series.tone}`}
                shape={series.shape ?? "circle"}
                x={at}
                y={y(value)}
              />
            );
          })}
      </svg>
      <Tooltip
        at={at}
        width={layout.width}
        plot={plot}
        title={placeName(model, round)}
        rows={model.tooltip(round)}
      />
    </div>
  );
}
