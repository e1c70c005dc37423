import type { RunDetail, RunPrivacy } from "../api/types";
import { constant, delta } from "../format/numbers";

/** The constants of the guarantee, which are public. */
export function Facts({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  const facts: [string, string][] = [
    ["Unit and adjacency", `one ${privacy.unit}, ${privacy.adjacency}`],
    ["δ", delta(privacy.delta)],
    ["Noise multiplier σ", constant(privacy.noise_multiplier)],
    ["Clipping bound C", constant(privacy.max_grad_norm)],
    ["Sample rate q", constant(privacy.sample_rate)],
    ["Steps per round", String(privacy.steps)],
    ["Recipe", run.recipe],
    ["Data contract", run.dataset],
    ["Plan", run.plan_digest.slice(0, 12)],
  ];
  return (
    <section className="card" aria-labelledby="facts">
      <header className="card-head">
        <h2 id="facts">What the guarantee rests on</h2>
      </header>
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
