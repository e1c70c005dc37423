/** The ledger before its figures, in their geometry. */
import { CHART_HEIGHT } from "../charts/round-chart";

const CELLS = [
  "Closest to its limit",
  "Runs left until first limit",
  "Budgets within their limit",
  "Runs that were joined",
  "Spent, but not listed here",
];
const ROWS = [1, 2, 3];

export function LedgerSkeleton() {
  return (
    <div className="run" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the ledger
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
      <div className="ledger-main" aria-hidden="true">
        <div className="card">
          <BoneHeader name="Lifetime budgets" />
          <div className="bone-rows">
            {ROWS.map((row) => (
              <span key={row} className="bone block" />
            ))}
          </div>
        </div>
        <div className="card">
          <BoneHeader name="Lifetime ε, run by run" />
          <div className="chart-body">
            <div className="bone block" style={{ blockSize: CHART_HEIGHT }} />
          </div>
        </div>
      </div>
    </div>
  );
}

export function BoneHeader({ name }: { name: string }) {
  return (
    <div className="card-header">
      <div>
        <p className="card-title">{name}</p>
        <p className="note">
          <span className="bone" style={{ inlineSize: "14rem" }} />
        </p>
      </div>
    </div>
  );
}
