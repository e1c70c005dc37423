/** The page before its figures: the same grid and the same heights, so that nothing moves when they come. */
import { CHART_HEIGHT, FRONTIER_HEIGHT } from "../charts/round-chart";

const CELLS = [
  "Global accuracy",
  "Privacy of this run",
  "Runs left until first limit",
  "Round",
  "Sites in this round",
];
const CHARTS = ["Accuracy", "Loss", "Privacy budget used", "Privacy of this run"];

export function Skeleton() {
  return (
    <div className="run" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the run
      </p>
      <div className="card strip" aria-hidden="true">
        {CELLS.map((name) => (
          <div className="cell" key={name}>
            <p className="cell-name">{name}</p>
            <p className="cell-value">
              <span className="bone" style={{ inlineSize: "5.5rem" }} />
            </p>
            <p className="note">
              <span className="bone" style={{ inlineSize: "9rem" }} />
            </p>
            <p className="note">
              <span className="bone" style={{ inlineSize: "7rem" }} />
            </p>
          </div>
        ))}
      </div>
      <div className="charts" aria-hidden="true">
        {CHARTS.map((name) => (
          <div className="card" key={name}>
            <div className="card-header">
              <div>
                <p className="card-title">{name}</p>
                <p className="note">
                  <span className="bone" style={{ inlineSize: "14rem" }} />
                </p>
              </div>
            </div>
            <div className="chart-body">
              <div className="bone block" style={{ blockSize: CHART_HEIGHT }} />
            </div>
          </div>
        ))}
        <div className="card frontier">
          <div className="card-header">
            <div>
              <p className="card-title">Privacy and accuracy</p>
              <p className="note">
                <span className="bone" style={{ inlineSize: "14rem" }} />
              </p>
            </div>
          </div>
          <div className="chart-body">
            <div className="bone block" style={{ blockSize: FRONTIER_HEIGHT }} />
          </div>
        </div>
      </div>
    </div>
  );
}
