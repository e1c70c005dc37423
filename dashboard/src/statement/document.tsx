/** A statement as a person reads it. Every sentence and figure is the statement's own; nothing is added to them. */
import type { ReactNode } from "react";

import type { Section, Statement, StatementCheck } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { local, utcMinute } from "../format/time";
import { CopyButton } from "../ui/copy-button";
import { ViewLink } from "../ui/view-link";
import { Findings, StateCard } from "./state-card";
import { MECHANISMS, guaranteed, verifyCommand } from "./words";

/** A share in percent, rounded against the one who promises. */
const percent = (share: number) => `${format.roundUp(100 * share, 1)}\u202f%`;

interface DocumentProps {
  statement: Statement;
  check: StatementCheck;
}

export function StatementDocument({ statement, check }: DocumentProps) {
  const { promise, run, lifetime, words } = statement;
  const sites = statement.sections.map(({ site }) => site);
  return (
    <article className="statement" aria-labelledby="statement-title">
      <header>
        <p className="statement-kind">Privacy statement</p>
        <h1 id="statement-title">{statement.name}</h1>
        <p className="note">
          Run <code>{statement.run_id}</code>, {statement.outcome.state} after{" "}
          {format.plural(statement.outcome.rounds, "round")}; stated{" "}
          <time dateTime={statement.at} title={local(statement.at)}>
            {utcMinute(statement.at)}
          </time>
        </p>
      </header>
      <StateCard check={check} />
      <p className="guarantee">{words.guarantee}</p>
      <dl className="strengths">
        <Strength figure={`ε ${format.spent(run.epsilon)}`} name="This run">
          at the site that spent most; promised was at most {format.limit(promise.epsilon)}, at δ{" "}
          {format.delta(run.delta)}
        </Strength>
        <Strength figure={`ε ${format.spent(lifetime.epsilon)}`} name="Over its lifetime">
          this and all earlier runs together, at the site that spent most, at δ {format.delta(lifetime.delta)}
        </Strength>
        <Strength figure={percent(lifetime.attack_success)} name="The best attack finds">
          of those who are in the data, where 1 of 100 who are not is accused; a blind guess finds 1&#8239;%
        </Strength>
      </dl>

      <Part title="Site by site">
        <SitesTable sections={statement.sections} unit={promise.unit} />
      </Part>

      <Part title="What is not protected">
        <ul className="limits">
          {words.not_protected.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      </Part>

      <Part title="Who is trusted">
        <p>{words.trust_model}</p>
      </Part>

      <Part title="How it is protected">
        <Mechanisms statement={statement} />
        <dl className="means">
          <Fact name="Noise">{words.randomness}</Fact>
          <Fact name="Clipping">{words.clipping}</Fact>
          <Fact name="Sampling">{words.sampling}</Fact>
          <Fact name="Preprocessing">{words.preprocessing}</Fact>
          <Fact name="Evaluation">{words.evaluation}</Fact>
          <Fact name="Settings">{words.hyper_parameters}</Fact>
          <Fact name="Accounting">{words.accountant}</Fact>
          <Fact name="Over all runs">{words.composition}</Fact>
        </dl>
      </Part>

      <Part title="What each site signed">
        {statement.sections.map((section) => (
          <SiteSection key={section.site} section={section} />
        ))}
      </Part>

      <Part title="What this is about">
        <dl className="means">
          <Digest name="Model" value={statement.model_digest} />
          <Digest name="Plan" value={statement.plan_digest} />
          <Digest name="Data contract" value={statement.plan.contract_digest} />
          {check.digest && <Digest name="Statement" value={check.digest} />}
          <Fact name="Data set">
            {statement.plan.dataset}, about {statement.plan.nominal_size} {promise.unit}s over all sites, as
            declared
          </Fact>
          <Fact name="Server">{software(statement.server)}</Fact>
        </dl>
      </Part>

      <Part title="Check it yourself">
        <p>
          This page proves nothing: it shows what the file says. With the public keys of hub and sites, which
          you get from them and not from here, this command checks every signature and computes every ε anew.
          It needs no network. <code>--site-key</code> names each site that must be in it.
        </p>
        <Command text={verifyCommand(sites, statement.plan.sites, check.unsigned)} />
        <Findings check={check} />
      </Part>
      <footer className="statement-foot note">
        <ViewLink view={to("run", { run: statement.run_id })}>The run’s figures</ViewLink>
        <ViewLink view={to("audit", { run: statement.run_id })}>Its audit log</ViewLink>
      </footer>
    </article>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Strength({ figure, name, children }: { figure: string; name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <strong>{figure}</strong>
        <span className="note">{children}</span>
      </dd>
    </div>
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

function Digest({ name, value }: { name: string; value: string }) {
  return (
    <Fact name={name}>
      <span className="digest">
        SHA-256 <code>{value}</code>
        <CopyButton what={`the SHA-256 of the ${name.toLowerCase()}`} text={value} />
      </span>
    </Fact>
  );
}

export function Command({ text }: { text: string }) {
  return (
    <div className="verify-command">
      <pre role="region" aria-label="Command" tabIndex={0}>
        <code>{text}</code>
      </pre>
      <CopyButton what="the command" text={text} />
    </div>
  );
}

function SitesTable({ sections, unit }: { sections: readonly Section[]; unit: string }) {
  return (
    <div className="table-scroll" role="region" aria-label="Sites, table" tabIndex={0}>
      <table>
        <caption>
          Under add/remove of one {unit}, which is what is guaranteed. In brackets: were one replaced by
          another.
        </caption>
        <thead>
          <tr>
            <th scope="col">Site</th>
            <th scope="col" className="number">
              ε of this run
            </th>
            <th scope="col" className="number">
              ε of its lifetime
            </th>
            <th scope="col" className="number">
              Limit
            </th>
            <th scope="col" className="number">
              δ
            </th>
            <th scope="col">Signed with key</th>
          </tr>
        </thead>
        <tbody>
          {sections.map((section) => (
            <SiteRow key={section.site} section={section} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function SiteRow({ section: { site, signed, told } }: { section: Section }) {
  const part = signed?.part;
  const figures = part
    ? {
        run: guaranteed(part, "run"),
        lifetime: guaranteed(part, "lifetime"),
        replaced: Math.max(part.epsilon.lifetime.replace_one, part.epsilon.held_out_lifetime.replace_one),
        limit: part.limits.epsilon,
        delta: part.epsilon.delta,
      }
    : told && {
        run: told.epsilon_run,
        lifetime: Math.max(told.epsilon_spent, told.epsilon_held_out),
        replaced: null,
        limit: told.epsilon_limit,
        delta: told.delta,
      };
  if (!figures) return null;
  return (
    <tr>
      <th scope="row">{site}</th>
      <td className="number">{format.spent(figures.run)}</td>
      <td className="number">
        {format.spent(figures.lifetime)}
        {figures.replaced !== null && <span className="of"> ({format.spent(figures.replaced)})</span>}
      </td>
      <td className="number">{format.limit(figures.limit)}</td>
      <td className="number">{format.delta(figures.delta)}</td>
      <td>
        {signed ? (
          <code>{signed.signature.key.slice(0, 16)}…</code>
        ) : (
          <span className="attention">not signed: its last word to the hub</span>
        )}
      </td>
    </tr>
  );
}

function Mechanisms({ statement: { plan, promise } }: { statement: Statement }) {
  const releases = [plan.centre, plan.train].filter((release) => release != null);
  return (
    <div className="table-scroll" role="region" aria-label="Mechanisms, table" tabIndex={0}>
      <table>
        <caption>
          Everything that was planned to leave a site. σ is noise in units of C; C the length to which what
          one {promise.unit} adds is cut; q the chance of a {promise.unit} to be in a step.
        </caption>
        <thead>
          <tr>
            <th scope="col">Release</th>
            <th scope="col">Mechanism</th>
            {["σ", "C", "q", "Rounds", "Steps each", "ε each"].map((name) => (
              <th scope="col" className="number" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {releases.map((release) => (
            <tr key={release.phase}>
              <th scope="row">{MECHANISMS[release.phase] ?? release.phase}</th>
              <td>Gaussian</td>
              <td className="number">{format.constant(release.noise_multiplier)}</td>
              <td className="number">{format.constant(release.max_grad_norm)}</td>
              <td className="number">{format.constant(release.sample_rate)}</td>
              <td className="number">{release.rounds}</td>
              <td className="number">{release.steps}</td>
              <td className="number">{format.NOT_APPLICABLE}</td>
            </tr>
          ))}
          {plan.evaluate && (
            <tr>
              <th scope="row">{MECHANISMS.evaluate}</th>
              <td>Geometric, counts</td>
              <td className="number">{format.NOT_APPLICABLE}</td>
              <td className="number">{format.NOT_APPLICABLE}</td>
              <td className="number">{format.NOT_APPLICABLE}</td>
              <td className="number">{plan.evaluate.at.length}</td>
              <td className="number">1</td>
              <td className="number">{format.roundUp(plan.evaluate.epsilon, 4)}</td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

function SiteSection({ section: { site, signed, told } }: { section: Section }) {
  if (!signed) {
    return (
      <section className="site-part">
        <h3>{site}</h3>
        <p>
          <strong className="attention">Nothing.</strong> It did not answer the end of the run; its figures
          are what it last told the hub, when its ledger stood at entry{" "}
          {told?.ledger_seq ?? format.NOT_APPLICABLE}.
        </p>
      </section>
    );
  }
  const { part } = signed;
  const evaluations = part.entries.filter(({ mechanism }) => mechanism === "geometric").length;
  const training = part.entries.length - evaluations;
  const sent = part.entries.filter(({ state }) => state === "committed").length;
  return (
    <section className="site-part">
      <h3>{site}</h3>
      <dl className="means">
        <Fact name="Releases">
          {training} on training records, {evaluations} on held-out ones; {sent} of them sent
          {sent < part.entries.length ? ", the others charged all the same" : ""}
        </Fact>
        <Fact name="Ledger">
          <span className="digest">
            entry {part.ledger.seq}, <code>{part.ledger.head}</code>
            <CopyButton what={`the ledger head of ${site}`} text={part.ledger.head} />
          </span>
        </Fact>
        <Fact name="Policy">
          ε at most {format.limit(part.limits.epsilon)} over its lifetime,{" "}
          {format.limit(part.limits.max_run_epsilon)} in one run
        </Fact>
        <Fact name="Audit of its code">
          <Audit part={part} />
        </Fact>
        <Fact name="Software">{software(part.software)}</Fact>
      </dl>
    </section>
  );
}

function Audit({ part: { audit } }: { part: NonNullable<Section["signed"]>["part"] }) {
  if (!audit) return "none given";
  const bounds = audit.bounds.map(
    (bound) =>
      `; ${bound.recipe}: ε at least ${format.roundDown(Math.max(bound.clopper_pearson, bound.gaussian))} by ` +
      `experiment, ${format.spent(bound.claim)} by ledger`,
  );
  return (
    <>
      {audit.verdict === "failed" ? <strong className="attention">failed</strong> : "passed"},{" "}
      {utcMinute(audit.at)}, {format.plural(audit.checks.length, "check")},{" "}
      {audit.quick
        ? "without its test of itself"
        : `${format.plural(audit.defects.length, "seeded defect")} noticed`}
      {bounds.join("")}
    </>
  );
}

function software(told: Statement["server"]): string {
  const packages = Object.entries(told.packages)
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
  return `fedpriv ${told.code_version}; ${packages}; image ${told.image_digest ?? "not told"}`;
}
