/**
 * Expected loss against ε, on a logarithmic axis: what privacy buys, and where the budget ends.
 *
 * One tab stop: arrow keys go through the epsilons that were computed, Enter or a click plans the one that is shown.
 */
import { area, line } from "d3-shape";
import { useMemo, useState, type KeyboardEvent, type PointerEvent } from "react";

import type { PlanAnswer } from "../api/types";
import { navigate, to } from "../api/view";
import { linear, tickFormat, zeroDomain } from "../charts/scales";
import { textWidth } from "../charts/text-width";
import { useWidth } from "../charts/use-width";
import { lost } from "./outlook";
import { changed, nearestOf, outlooks, type Query } from "./question";

export const LOSS_CHART_HEIGHT = 260;
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];

interface Point {
  epsilon: number;
  expected: number;
  low: number;
  high: number;
  oneInTen: number;
  fits: boolean;
}

/** Points of the curve; none where no loss is foretold. */
export function curveOf(answer: PlanAnswer): Point[] {
  return outlooks(answer).flatMap(({ plan, utility, cost }) =>
    utility
      ? {
          epsilon: plan.epsilon,
          expected: 100 * utility.loss.expected,
          low: 100 * utility.loss.low,
          high: 100 * utility.loss.high,
          oneInTen: 100 * utility.loss.one_in_ten,
          fits: cost.fits,
        }
      : [],
  );
}

export function describe(point: Point): string {
  return (
    `ε ${point.epsilon}: ${point.expected.toFixed(1)} points lost, from ${point.low.toFixed(1)} to ` +
    `${point.high.toFixed(1)}${point.fits ? "" : ", does not fit the budget"}`
  );
}

export function LossChart({ answer, query }: { answer: PlanAnswer; query: Query }) {
  const [element, width] = useWidth<HTMLDivElement>();
  const [pointed, setPointed] = useState<number | null>(null);
  const points = useMemo(() => curveOf(answer), [answer]);
  const chosen = answer.forecast.plan.epsilon;
  const epsilons = points.map(({ epsilon }) => epsilon);
  const shown = pointed !== null && epsilons.includes(pointed) ? pointed : null;
  const current = points.find(({ epsilon }) => epsilon === (shown ?? chosen));
  const layout = width > 0 ? layOut(points, width) : null;

  function plan(epsilon: number) {
    navigate(to("plan", changed(query, { epsilon: String(epsilon) })));
  }
  function press(event: KeyboardEvent) {
    const index = epsilons.indexOf(shown ?? chosen);
    const target = {
      ArrowLeft: index - 1,
      ArrowDown: index - 1,
      ArrowRight: index + 1,
      ArrowUp: index + 1,
      PageDown: index - 5,
      PageUp: index + 5,
      Home: 0,
      End: epsilons.length - 1,
    }[event.key];
    if (event.key === "Escape") setPointed(null);
    else if (event.key === "Enter" && shown !== null) plan(shown);
    else if (target !== undefined) {
      event.preventDefault();
      setPointed(epsilons[Math.max(0, Math.min(target, epsilons.length - 1))] ?? null);
    }
  }
  function under(event: PointerEvent): number | null {
    if (!layout) return null;
    const left = event.currentTarget.getBoundingClientRect().left;
    return nearestOf(epsilons, layout.epsilonAt(event.clientX - left));
  }

  return (
    <div className="chart" ref={element} style={{ height: LOSS_CHART_HEIGHT }}>
      {layout && current && (
        <>
          <Drawing answer={answer} points={points} layout={layout} width={width} />
          <div
            className="chart-slider leads"
            role="slider"
            tabIndex={0}
            aria-roledescription="chart"
            aria-label="Expected loss of accuracy against ε; Enter plans the ε that is shown"
            aria-valuemin={0}
            aria-valuemax={Math.max(0, points.length - 1)}
            aria-valuenow={Math.max(0, points.indexOf(current))}
            aria-valuetext={describe(current)}
            onKeyDown={press}
            onPointerMove={(event) => {
              setPointed(under(event));
            }}
            onPointerLeave={() => {
              setPointed(null);
            }}
            onClick={(event) => {
              const epsilon = under(event as unknown as PointerEvent);
              if (epsilon !== null) plan(epsilon);
            }}
            onBlur={() => {
              setPointed(null);
            }}
          />
          {shown !== null && <Overlay point={current} layout={layout} width={width} />}
        </>
      )}
    </div>
  );
}

type Layout = ReturnType<typeof layOut>;

function layOut(points: readonly Point[], width: number) {
  const values = zeroDomain(
    points.map(({ high }) => Math.min(high, 25)),
    1,
  );
  const ticks = linear(values, [0, 1]).ticks(5);
  const spell = tickFormat(ticks);
  const plot = {
    left: Math.ceil(Math.max(...ticks.map((tick) => textWidth(spell(tick), "axis")))) + 12,
    right: width - 14,
    top: 18,
    bottom: LOSS_CHART_HEIGHT - 44,
  };
  const first = Math.log(points[0]?.epsilon ?? 0.1);
  const last = Math.log(points.at(-1)?.epsilon ?? 16);
  const y = linear(values, [plot.bottom, plot.top]).clamp(true);
  const scale = linear([first, Math.max(last, first + 0.1)], [plot.left, plot.right]);
  const x = (epsilon: number) => scale(Math.log(epsilon));
  return {
    plot,
    x,
    y,
    ticks: ticks.map((value) => ({ value, text: spell(value) })),
    epsilons: TICKS.filter((tick) => Math.log(tick) >= first - 1e-9 && Math.log(tick) <= last + 1e-9),
    epsilonAt: (pixel: number) => Math.exp(scale.invert(pixel)),
  };
}

interface DrawingProps {
  answer: PlanAnswer;
  points: readonly Point[];
  layout: Layout;
  width: number;
}

function Drawing({ answer, points, layout, width }: DrawingProps) {
  const { plot, x, y } = layout;
  const { largest_epsilon: largest, plan, utility } = answer.forecast;
  const last = points.at(-1)?.epsilon ?? 0;
  const chosen = points.find(({ epsilon }) => epsilon === plan.epsilon);
  const acceptable = utility ? 100 * utility.acceptable_loss : null;
  const ends = largest > 0 && largest < last ? x(Math.max(largest, points[0]?.epsilon ?? largest)) : null;
  const label = chosen ? `ε ${chosen.epsilon}: ${chosen.expected.toFixed(1)} points` : "";
  const room = chosen ? x(chosen.epsilon) + 12 + textWidth(label, "label") < plot.right : true;
  return (
    <svg
      className="chart-drawing"
      width={width}
      height={LOSS_CHART_HEIGHT}
      aria-hidden="true"
      focusable="false"
    >
      <g className="axis">
        {layout.ticks.map(({ value, text }) => (
          <g key={value} transform={`translate(0 ${y(value)})`}>
            <line className="grid" x1={plot.left} x2={plot.right} />
            <text x={plot.left - 10} dy="0.34em" textAnchor="end">
              {text}
            </text>
          </g>
        ))}
        {layout.epsilons.map((epsilon) => (
          <text key={epsilon} x={x(epsilon)} y={plot.bottom + 19} textAnchor="middle">
            {epsilon}
          </text>
        ))}
        <text x={(plot.left + plot.right) / 2} y={plot.bottom + 37} textAnchor="middle">
          ε of the run: less is more private
        </text>
      </g>
      {(ends !== null || largest === 0) && (
        <g className="rule tone-limit">
          <rect
            className="beyond"
            x={ends ?? plot.left}
            y={plot.top}
            width={plot.right - (ends ?? plot.left)}
            height={plot.bottom - plot.top}
          />
          <line x1={ends ?? plot.left} x2={ends ?? plot.left} y1={plot.top} y2={plot.bottom} />
          <text
            x={(ends ?? plot.left) + ((ends ?? plot.left) > plot.right - 130 ? -7 : 7)}
            y={plot.top + 12}
            textAnchor={(ends ?? plot.left) > plot.right - 130 ? "end" : "start"}
          >
            {largest > 0 ? `Budget ends at ε ${largest}` : "Nothing fits the budget"}
          </text>
        </g>
      )}
      {acceptable !== null && (
        <g className="acceptable" transform={`translate(0 ${y(acceptable)})`}>
          <line x1={plot.left} x2={plot.right} />
          <text x={plot.left + 4} y={-5}>
            {`${acceptable.toFixed(1)} acceptable`}
          </text>
        </g>
      )}
      <g className="series tone-global">
        <path
          className="band"
          d={
            area<Point>(
              (point) => x(point.epsilon),
              (point) => y(point.low),
              (point) => y(point.high),
            )(points) ?? ""
          }
        />
        <path
          className="line"
          d={
            line<Point>(
              (point) => x(point.epsilon),
              (point) => y(point.expected),
            )(points) ?? ""
          }
        />
        {chosen && <circle className="end" cx={x(chosen.epsilon)} cy={y(chosen.expected)} r={5.5} />}
      </g>
      {chosen && (
        <text
          className="label tone-global"
          x={x(chosen.epsilon) + (room ? 10 : -10)}
          y={y(chosen.expected) - 10}
          textAnchor={room ? "start" : "end"}
        >
          {label}
        </text>
      )}
    </svg>
  );
}

function Overlay({ point, layout, width }: { point: Point; layout: Layout; width: number }) {
  const { plot, x, y } = layout;
  const at = x(point.epsilon);
  const toLeft = at > (plot.left + plot.right) / 2;
  return (
    <div className="chart-overlay" aria-hidden="true">
      <svg width={width} height={LOSS_CHART_HEIGHT} focusable="false">
        <line className="crosshair" x1={at} x2={at} y1={plot.top} y2={plot.bottom} />
        <circle className="end tone-global" cx={at} cy={y(point.expected)} r={4.5} />
      </svg>
      <div
        className="tooltip"
        style={toLeft ? { right: width - at + 14, top: plot.top } : { left: at + 14, top: plot.top }}
      >
        <strong>ε {point.epsilon}</strong>
        <div className="tooltip-row">
          <span className="key tone-global">Points lost</span>
          <b>{point.expected.toFixed(1)}</b>
        </div>
        <div className="tooltip-row">
          <span>Mean over runs</span>
          <b>
            {point.low.toFixed(1)} to {point.high.toFixed(1)}
          </b>
        </div>
        <div className="tooltip-row">
          <span>One in ten above</span>
          <b>{lost(point.oneInTen / 100)}</b>
        </div>
        <div className="tooltip-row">
          <span>Budget</span>
          <b>{point.fits ? "fits" : "does not fit"}</b>
        </div>
      </div>
    </div>
  );
}
