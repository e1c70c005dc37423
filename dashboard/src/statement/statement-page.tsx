import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { ApiError } from "../api/client";
import { runQuery, runsQuery } from "../api/queries";
import type { RunDetail, StatementCheck } from "../api/types";
import { to } from "../api/view";
import { RunMark } from "../frame/run-mark";
import type { PageProps } from "../pages";
import { endWords } from "../run/words";
import { Message, NoRuns, ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { DownloadButton } from "../ui/download-button";
import { DocumentIcon, PrintIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";
import { StatementDocument } from "./document";
import { checkQuery, statementQuery } from "./queries";
import { StatementSkeleton } from "./skeleton";
import { StateCard } from "./state-card";

/** The privacy statement of the run that the address names, or of the newest one. */
export function StatementPage({ view, live, storageSince }: PageProps) {
  const list = useQuery(runsQuery());
  const runId = view.query.run ?? list.data?.runs[0]?.run_id ?? null;
  if (runId !== null) {
    return (
      <OfRun key={runId} runId={runId} onRetry={live.retry}>
        {(failure) => <StaleBanner live={live} storageSince={storageSince} failure={failure} />}
      </OfRun>
    );
  }
  if (list.isPending) return <StatementSkeleton />;
  if (list.error && !list.data) return <ReadFailed error={list.error} onRetry={live.retry} />;
  return <NoRuns />;
}

interface OfRunProps {
  runId: string;
  onRetry: () => void;
  /** Says that what is shown may be old. */
  children: (failure: string | null) => ReactNode;
}

function OfRun({ runId, onRetry, children }: OfRunProps) {
  const run = useQuery(runQuery(runId));
  const check = useQuery(checkQuery(runId, run.data !== undefined && run.data.state !== "active"));
  const digest = check.data?.digest ?? null;
  const statement = useQuery({ ...statementQuery(runId, digest ?? ""), enabled: digest !== null });
  const failed = run.error ?? check.error ?? statement.error;

  if (check.error instanceof ApiError && check.error.status === 403) return <NotForThisKey runId={runId} />;
  if (!run.data || !check.data) {
    return failed ? <ReadFailed error={failed} onRetry={onRetry} /> : <StatementSkeleton />;
  }
  const stale = children(failed?.message ?? null);
  if (check.data.state === "none") {
    return (
      <div className="statement-page">
        {stale}
        <NoStatement run={run.data} check={check.data} />
      </div>
    );
  }
  return (
    <div className="statement-page">
      {stale}
      <div className="statement-actions">
        <button
          type="button"
          className="button small"
          onClick={() => {
            window.print();
          }}
        >
          <PrintIcon />
          Print or save as PDF
        </button>
        <DownloadButton
          path={`/runs/${runId}/statement`}
          accept="application/json"
          name={`statement-${runId}.json`}
        >
          statement.json
        </DownloadButton>
        <DownloadButton
          path={`/runs/${runId}/model`}
          accept="application/octet-stream"
          name={`model-${runId}.safetensors`}
        >
          model.safetensors
        </DownloadButton>
      </div>
      {statement.data ? (
        isStatement(statement.data) ? (
          <StatementDocument statement={statement.data.statement} check={check.data} />
        ) : (
          <Unreadable check={check.data} />
        )
      ) : statement.error ? (
        <Unreadable check={check.data} />
      ) : (
        <StatementSkeleton />
      )}
    </div>
  );
}

/** What is stored under a statement's name may be anything; it is shown as one only if it has the parts of one. */
function isStatement(data: unknown): boolean {
  const told = data as { statement?: { words?: unknown; sections?: unknown; plan?: unknown } } | null;
  const statement = told?.statement;
  return Boolean(statement?.words && statement.plan) && Array.isArray(statement?.sections);
}

function NotForThisKey({ runId }: { runId: string }) {
  return (
    <Message icon={<DocumentIcon />} tone="global" title="This statement is not for your key">
      <p>
        It names every site of the run with its budget, and your key is that of one site. Ask the hub for the
        file; it is made to be handed out.
      </p>
      <ViewLink className="button primary" view={to("run", { run: runId })}>
        Show the run
      </ViewLink>
    </Message>
  );
}

function Unreadable({ check }: { check: StatementCheck }) {
  return (
    <article className="statement">
      <h1>Privacy statement</h1>
      <StateCard check={check} />
      <p>
        What is stored under this statement’s name is none that can be shown. The file can be downloaded as it
        is.
      </p>
    </article>
  );
}

/** Why there is none, and whether and when one will come. */
function NoStatement({ run, check }: { run: RunDetail; check: StatementCheck }) {
  const end = endWords(run);
  const title =
    run.state === "active"
      ? "Its statement comes with its end"
      : check.expected
        ? "Its statement waits for its signature"
        : "There is no statement of this run";
  return (
    <article className="statement">
      <header>
        <p className="statement-kind">Privacy statement</p>
        <h1>{run.name}</h1>
        <p className="note">
          <RunMark state={run.state} /> Run <code>{run.run_id}</code>
        </p>
      </header>
      <section className="no-statement">
        <h2>{title}</h2>
        <p>{check.detail}</p>
        {run.state === "active" && (
          <p>
            Round {run.round} of {run.rounds} is done. The plan promises ε at most {run.epsilon_target} to a
            record of any site; what each site has spent so far is on the run’s page.
          </p>
        )}
        {end && (
          <p>
            <strong>{end.title}</strong> {end.text}
          </p>
        )}
        <p className="statement-foot">
          <ViewLink className="button small" view={to("run", { run: run.run_id })}>
            Show the run
          </ViewLink>
          <ViewLink className="button small" view={to("audit", { run: run.run_id })}>
            Show its audit log
          </ViewLink>
        </p>
      </section>
    </article>
  );
}
