/** Shapes that stand for one thing in every chart, so that colour never has to tell it alone. */
import type { Tone } from "./model";

/** Paths around the origin, all of about one area; `r` of the circle is 4.5. */
const SHAPES = {
  circle: "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
  square: "M-4,-4H4V4H-4z",
  diamond: "M0,-5.6L5.6,0L0,5.6L-5.6,0z",
  triangle: "M0,-5.4L5.2,3.9H-5.2z",
  wedge: "M0,5.4L5.2,-3.9H-5.2z",
  cross: "M-1.7,-5h3.4v3.3H5v3.4H1.7V5h-3.4V1.7H-5v-3.4h3.3z",
} as const;

export type Shape = keyof typeof SHAPES;

/** How a run looks wherever several are shown: no two agree in anything. */
export interface Look {
  tone: Tone;
  shape: Shape;
  /** Of its lines; none for the first. */
  dash?: string;
}

export const LOOKS: readonly Look[] = [
  { tone: "run-1", shape: "circle" },
  { tone: "run-2", shape: "square", dash: "7 4" },
  { tone: "run-3", shape: "triangle", dash: "2 4" },
  { tone: "run-4", shape: "diamond", dash: "10 3 2 3" },
  { tone: "run-5", shape: "wedge", dash: "4 2" },
  { tone: "run-6", shape: "cross", dash: "14 4" },
];

export function shapePath(shape: Shape): string {
  return SHAPES[shape];
}

interface MarkProps {
  shape: Shape;
  x: number;
  y: number;
  className: string;
}

/** A shape at a place in a drawing. */
export function Mark({ shape, x, y, className }: MarkProps) {
  return <path className={className} d={SHAPES[shape]} transform={`translate(${x} ${y})`} />;
}

/** A run's line and shape as a key beside its name. */
export function LookKey({ look }: { look: Look }) {
  return (
    <svg className={`look tone-${look.tone}`} width="30" height="14" viewBox="0 -7 30 14" aria-hidden="true">
      <path className="line" d="M1,0H29" strokeDasharray={look.dash} />
      <Mark className="end" shape={look.shape} x={15} y={0} />
    </svg>
  );
}
