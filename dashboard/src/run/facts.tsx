import type { ReactNode } from "react";

import type { Release, RunDetail, RunPrivacy } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import { Card } from "../ui/card";
import { Digest } from "../ui/digest";
import { DocumentIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";

const RECIPES: Record<string, string> = {
  "fedsgd-logreg": "DP-FedSGD, logistic regression",
  "fedavg-mlp": "DP-FedAvg, MLP 30-64-2",
};

/** What the guarantee rests on: public constants, fixed in the plan before anything was spent. */
export function PrivacyFacts({ run, privacy }: { run: RunDetail; privacy: RunPrivacy }) {
  const { plan } = run;
  const releases = [plan.centre, plan.train].filter((release) => release != null);
  return (
    <Card
      className="facts"
      title="Privacy facts"
      note="Public constants of the plan. They were fixed before anything was spent, and depend on no record."
      action={
        <ViewLink className="button small" view={to("statement", { run: run.run_id })}>
          <DocumentIcon />
          Privacy statement
        </ViewLink>
      }
    >
      <div className="facts-body">
        <dl>
          <Fact name="Guarantee">
            ε {format.limit(run.epsilon_target)}, δ {format.delta(run.delta)}
          </Fact>
          <Fact name="Neighbours">
            {privacy.adjacency === "add-remove" ? "add or remove one" : privacy.adjacency} {privacy.unit}
          </Fact>
          <Fact name="Recipe">{RECIPES[run.recipe] ?? run.recipe}</Fact>
          <Fact name="Data set">
            {run.dataset}, declared size {plan.nominal_size}
          </Fact>
          <Fact name="Public validation">
            {run.public_validation
              ? `${run.public_validation.name}, ${run.public_validation.size} records`
              : format.NOT_APPLICABLE}
          </Fact>
          <Fact name="Begun">
            <time dateTime={run.created_at} title={local(run.created_at)}>
              {utcMinute(run.created_at)}
            </time>
          </Fact>
          <Digest name="Data contract" value={plan.contract_digest} />
          <Digest name="Plan" value={run.plan_digest} />
          {run.model_digest && <Digest name="Model" value={run.model_digest} />}
        </dl>
        <div className="table-scroll" role="region" aria-label="Mechanisms, table" tabIndex={0}>
          <table>
            <caption>Gaussian mechanism at each site</caption>
            <thead>
              <tr>
                <th scope="col">Release</th>
                <th scope="col" className="number">
                  Noise σ
                </th>
                <th scope="col" className="number">
                  Clip C
                </th>
                <th scope="col" className="number">
                  Rate q
                </th>
                <th scope="col" className="number">
                  Steps
                </th>
              </tr>
            </thead>
            <tbody>
              {releases.map((release) => (
                <Mechanism key={release.phase} release={release} />
              ))}
            </tbody>
          </table>
          <p className="note">
            Noise of standard deviation σ·C is added to each clipped sum before it leaves a site. q is the
            share of records in a step;{" "}
            {plan.train.sample_rate === 1 ? "1 is all of them." : "they are drawn anew each time."}
          </p>
        </div>
      </div>
    </Card>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Mechanism({ release }: { release: Release }) {
  return (
    <tr>
      <th scope="row">{release.phase === "centre" ? "Centring" : "Training"}</th>
      <td className="number">{format.constant(release.noise_multiplier)}</td>
      <td className="number">{format.constant(release.max_grad_norm)}</td>
      <td className="number">{format.constant(release.sample_rate)}</td>
      <td className="number">{release.steps * release.rounds}</td>
    </tr>
  );
}
