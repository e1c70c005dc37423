/** The ledger before its figures, in their geometry. */
import { BoneChart, BoneHeader, BoneStrip } from "../ui/bones";

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
      <BoneStrip names={CELLS} />
      <div className="ledger-main" aria-hidden="true">
        <div className="card">
          <BoneHeader name="Lifetime budgets" />
          <div className="bone-rows">
            {ROWS.map((row) => (
              <span key={row} className="bone block" />
            ))}
          </div>
        </div>
        <BoneChart name="Lifetime ε, run by run" />
      </div>
    </div>
  );
}
