/** Parts of a page before their figures, in the same geometry, so that nothing moves when they come. */
import { CHART_HEIGHT } from "../charts/round-chart";

function Bone({ width }: { width: string }) {
  return <span className="bone" style={{ inlineSize: width }} />;
}

/** The strip of figures: a cell for each name; null where the name is not known yet. */
export function BoneStrip({ names }: { names: readonly (string | null)[] }) {
  return (
    <div className="card strip" aria-hidden="true">
      {names.map((name, index) => (
        <div className="cell" key={index}>
          <p className="cell-name">{name ?? <Bone width="8rem" />}</p>
          <p className="cell-value">
            <Bone width="5.5rem" />
          </p>
          <p className="note">
            <Bone width="9rem" />
          </p>
          <p className="note">
            <Bone width="7rem" />
          </p>
        </div>
      ))}
    </div>
  );
}

/** The head of a card. */
export function BoneHeader({ name }: { name: string }) {
  return (
    <div className="card-header">
      <div>
        <p className="card-title">{name}</p>
        <p className="note">
          <Bone width="14rem" />
        </p>
      </div>
    </div>
  );
}

interface BoneChartProps {
  name: string;
  /** Of the drawing, in pixels. */
  height?: number;
  className?: string;
}

/** A card with a chart. */
export function BoneChart({ name, height = CHART_HEIGHT, className = "" }: BoneChartProps) {
  return (
    <div className={`card ${className}`}>
      <BoneHeader name={name} />
      <div className="chart-body">
        <div className="bone block" style={{ blockSize: height }} />
      </div>
    </div>
  );
}
