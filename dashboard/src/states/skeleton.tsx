/** The page before its figures: the same grid and the same heights, so that nothing moves when they come. */
import { FRONTIER_HEIGHT } from "../charts/round-chart";
import { BoneChart, BoneStrip } from "../ui/bones";

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
      <BoneStrip names={CELLS} />
      <div className="charts" aria-hidden="true">
        {CHARTS.map((name) => (
          <BoneChart key={name} name={name} />
        ))}
        <BoneChart name="Privacy and accuracy" height={FRONTIER_HEIGHT} className="frontier" />
      </div>
    </div>
  );
}
