/**
 * Points in a plane, in SVG. As with charts over rounds it is one tab stop, a slider for assistive technology: arrow
 * keys move from point to point, Enter follows the point.
 */
import { memo, useId, useMemo, useState, type KeyboardEvent, type PointerEvent } from "react";

import { Mark } from "./marks";
import { CHART_HEIGHT, whisker } from "./round-chart";
import {
  layOutPlane,
  pointNear,
  stepPath,
  type PlaneLayout,
  type PlaneModel,
  type PlanePoint,
} from "./scatter";
import { Tooltip } from "./tooltip";
import { useWidth } from "./use-width";

interface ScatterChartProps {
  model: PlaneModel;
  /** Follow a point. */
  onChoose?: (id: string) => void;
  height?: number;
}

export function ScatterChart({ model, onChoose, height = CHART_HEIGHT }: ScatterChartProps) {
  const [element, width] = useWidth<HTMLDivElement>();
  const [shownId, setShown] = useState<string | null>(null);
  const layout = useMemo(
    () => (width > 0 ? layOutPlane(model, width, height) : null),
    [model, width, height],
  );
  const { points } = model;
  const shown = points.find((point) => point.id === shownId) ?? null;
  const index = shown
    ? points.indexOf(shown)
    : Math.max(
        0,
        points.findIndex((point) => point.singled),
      );

  function press(event: KeyboardEvent) {
    const target = {
      ArrowLeft: index - 1,
      ArrowDown: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index + 1,
      Home: 0,
      End: points.length - 1,
    }[event.key];
    if (event.key === "Escape") setShown(null);
    else if (event.key === "Enter" && shown) onChoose?.(shown.id);
    else if (target !== undefined) {
      event.preventDefault();
      setShown(points[Math.max(0, Math.min(target, points.length - 1))]?.id ?? null);
    }
  }

  function move(event: PointerEvent) {
    if (!layout) return;
    const box = event.currentTarget.getBoundingClientRect();
    setShown(pointNear(layout, points, event.clientX - box.left, event.clientY - box.top)?.id ?? null);
  }

  const current = points[index];
  return (
    <div className="chart" ref={element} style={{ height }}>
      {layout && (
        <>
          <PlaneDrawing model={model} layout={layout} />
          <div
            className={shown && onChoose ? "chart-slider leads" : "chart-slider plane"}
            role="slider"
            tabIndex={0}
            aria-roledescription="chart"
            aria-label={model.name}
            aria-valuemin={1}
            aria-valuemax={Math.max(1, points.length)}
            aria-valuenow={index + 1}
            aria-valuetext={current ? said(current, index, points.length) : "no run yet"}
            onKeyDown={press}
            onFocus={(event) => {
              if (event.currentTarget.matches(":focus-visible")) setShown(current?.id ?? null);
            }}
            onBlur={() => {
              setShown(null);
            }}
            onPointerMove={move}
            onPointerDown={move}
            onPointerLeave={() => {
              setShown(null);
            }}
            onClick={() => {
              if (shown) onChoose?.(shown.id);
            }}
          />
          {shown && (
            <div className="chart-overlay" aria-hidden="true">
              <svg width={layout.width} height={layout.height} focusable="false">
                <circle className="ring" cx={layout.x(shown.x)} cy={layout.y(shown.y)} r={9} />
              </svg>
              <Tooltip
                at={layout.x(shown.x)}
                width={layout.width}
                plot={layout.plot}
                title={shown.title}
                rows={shown.rows}
              />
            </div>
          )}
        </>
      )}
    </div>
  );
}

/** "Run 2 of 9: breast-cancer, accuracy 94.7 %, ε 1.00". */
function said(point: PlanePoint, index: number, total: number): string {
  const rows = point.rows.map(({ name, value }) => `${name} ${value}`);
  return `Run ${index + 1} of ${total}: ${[point.title, ...rows].join(", ")}`;
}

const PlaneDrawing = memo(function PlaneDrawing({
  model,
  layout,
}: {
  model: PlaneModel;
  layout: PlaneLayout;
}) {
  const clip = useId();
  const { x, y, plot } = layout;
  const { limit } = model;
  return (
    <svg
      className="chart-drawing"
      width={layout.width}
      height={layout.height}
      aria-hidden="true"
      focusable="false"
    >
      <defs>
        <clipPath id={clip}>
          <rect
            x={plot.left}
            y={plot.top - 8}
            width={Math.max(0, plot.right - plot.left)}
            height={plot.bottom - plot.top + 8}
          />
        </clipPath>
      </defs>
      <g className="axis">
        {layout.yTicks.map((value) => (
          <g key={value} transform={`translate(0 ${y(value)})`}>
            <line className="grid" x1={plot.left} x2={plot.right} />
            <text x={plot.left - 10} dy="0.34em" textAnchor="end">
              {model.y.format(value)}
            </text>
          </g>
        ))}
        {layout.xTicks.map((value) => (
          <text key={value} x={x(value)} y={plot.bottom + 18} textAnchor="middle">
            {model.x.format(value)}
          </text>
        ))}
        <text x={(plot.left + plot.right) / 2} y={plot.bottom + 36} textAnchor="middle">
          {model.x.name}
        </text>
      </g>
      {limit && (
        <g className="rule tone-limit" transform={`translate(${x(limit.value)} 0)`}>
          <rect
            className="forbidden"
            y={plot.top}
            width={Math.max(0, plot.right - x(limit.value))}
            height={plot.bottom - plot.top}
          />
          <line y1={plot.top} y2={plot.bottom} />
          <text x={-6} y={plot.top + 4} textAnchor="end">
            {limit.text}
          </text>
        </g>
      )}
      <path className="steps" d={stepPath(model.steps, x, y)} />
      {model.trail.length > 1 && (
        <polyline
          className="trail tone-global"
          clipPath={`url(#${clip})`}
          points={model.trail.map((place) => `${x(place.x)},${y(place.y)}`).join(" ")}
        />
      )}
      {model.points
        .toSorted((a, b) => Number(a.singled) - Number(b.singled))
        .map((point) => (
          <g key={point.id} className={`tone-${point.tone}`}>
            {point.singled && point.interval && (
              <path
                className="whisker"
                clipPath={`url(#${clip})`}
                d={whisker(x(point.x), y(point.interval[0]), y(point.interval[1]))}
              />
            )}
            <Mark
              className={point.singled ? "end" : "release"}
              shape={point.shape}
              x={x(point.x)}
              y={y(point.y)}
            />
          </g>
        ))}
      {layout.labels.map(({ point, at }) => (
        <text
          key={point.id}
          className={point.singled ? `label haloed tone-${point.tone}` : "label haloed tone-context"}
          x={at.x}
          y={at.y}
          dy="0.34em"
        >
          {point.label}
        </text>
      ))}
    </svg>
  );
});
