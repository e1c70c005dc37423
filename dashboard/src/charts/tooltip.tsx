import { shapePath, type Shape } from "./marks";
import type { TooltipRow, Tone } from "./model";

interface TooltipProps {
  /** Pixels from the chart's left edge to what it is about. */
  at: number;
  width: number;
  plot: { left: number; right: number; top: number };
  title: string;
  rows: readonly TooltipRow[];
}

/** What is known at one place of a chart, beside that place and on the side with more room. */
export function Tooltip({ at, width, plot, title, rows }: TooltipProps) {
  const toLeft = at > (plot.left + plot.right) / 2;
  return (
    <div
      className="tooltip"
      style={toLeft ? { right: width - at + 14, top: plot.top } : { left: at + 14, top: plot.top }}
    >
      <strong>{title}</strong>
      {rows.map((row, place) => (
        <div key={`${place} ${row.name}`} className="tooltip-row">
          <span className="key">
            {row.tone && <Key tone={row.tone} shape={row.shape} />}
            {row.name}
          </span>
          <b>{row.value}</b>
        </div>
      ))}
    </div>
  );
}

/** What a row is of: its shape, or a bit of its line. */
function Key({ tone, shape }: { tone: Tone; shape: Shape | undefined }) {
  return (
    <svg className={`tone-${tone}`} width="11" height="11" viewBox="-5.5 -5.5 11 11" focusable="false">
      {shape ? (
        <path d={shapePath(shape)} fill="currentColor" />
      ) : (
        <rect x="-5" y="-1.5" width="10" height="3" rx="1.5" fill="currentColor" />
      )}
    </svg>
  );
}
