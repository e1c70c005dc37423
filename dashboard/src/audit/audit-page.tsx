import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import type { AuditKind } from "../api/types";
import { to } from "../api/view";
import * as format from "../format/numbers";
import { local, utcTime } from "../format/time";
import type { PageProps } from "../pages";
import { ReadFailed } from "../states/message";
import { StaleBanner } from "../states/stale";
import { Card } from "../ui/card";
import { DownloadButton } from "../ui/download-button";
import { CrossIcon } from "../ui/icons";
import { ViewHeader } from "../ui/view-header";
import { ViewLink } from "../ui/view-link";
import { ChainsCard } from "./chains-card";
import { Entries } from "./entries";
import { auditQuery, chainsQuery, spell, type Question } from "./queries";
import { AuditSkeleton } from "./skeleton";
import { KINDS, kindOf } from "./words";

const TITLE = "Audit log";
const NOTE =
  "Who took part, who refused, what was published, over all runs; each with the object that says so";

/** What somebody who was not there has to know, and whether the ledgers' hash chains fit what was told of them. */
export function AuditPage({ view, live, storageSince }: PageProps) {
  const question: Question = {
    kind: kindOf(view.query.kind),
    site: view.query.site ?? null,
    run: view.query.run ?? null,
  };
  const chains = useQuery(chainsQuery(question.site));
  const log = useInfiniteQuery(auditQuery(question));
  const failed = chains.error ?? log.error;

  return (
    <>
      <ViewHeader title={TITLE} note={NOTE}>
        {log.data && (
          <>
            <DownloadButton path={spell(question, { format: "csv" })} accept="text/csv" name="audit-log.csv">
              CSV
            </DownloadButton>
            <DownloadButton
              path={spell(question, { format: "ndjson" })}
              accept="application/x-ndjson"
              name="audit-log.ndjson"
            >
              NDJSON
            </DownloadButton>
          </>
        )}
      </ViewHeader>
      {!chains.data || !log.data ? (
        failed ? (
          <ReadFailed error={failed} onRetry={live.retry} />
        ) : (
          <AuditSkeleton />
        )
      ) : (
        <div className="run">
          <StaleBanner live={live} storageSince={storageSince} failure={failed?.message ?? null} />
          <Chosen question={question} />
          <ChainsCard chains={chains.data} />
          <Card
            className="audit-log"
            title="Entries"
            note={
              <>
                {format.plural(log.data.pages[0]?.total ?? 0, "entry", "entries")}, newest first, times in
                UTC.
                <ReadAt iso={log.data.pages[0]?.read_at ?? null} />
              </>
            }
          >
            <Kinds question={question} />
            {log.data.pages.every(({ entries }) => entries.length === 0) ? (
              <p className="nothing">
                {question.kind === null && question.site === null && question.run === null
                  ? "Nothing has happened yet. A server’s start and its first run show up here."
                  : "Nothing of this kind."}
              </p>
            ) : (
              <Entries entries={log.data.pages.flatMap(({ entries }) => entries)} />
            )}
            {log.hasNextPage && (
              <button
                type="button"
                className="button small show-all"
                aria-disabled={log.isFetchingNextPage}
                onClick={() => void log.fetchNextPage()}
              >
                {log.isFetchingNextPage ? "Reading older entries" : "Show older entries"}
              </button>
            )}
          </Card>
        </div>
      )}
    </>
  );
}

/** Allow-lists and starts of servers are looked for more slowly than runs. */
function ReadAt({ iso }: { iso: string | null }) {
  if (iso === null) return " Keys, servers and statements are still being read.";
  return (
    <>
      {" "}
      Keys and servers as of{" "}
      <time dateTime={iso} title={local(iso)}>
        {utcTime(iso)}
      </time>
      .
    </>
  );
}

/** One kind of entry, or all: links, so that each is an address. */
function Kinds({ question }: { question: Question }) {
  const { site, run } = question;
  const choices: [AuditKind | null, string][] = [
    [null, "All"],
    ...Object.entries(KINDS).map(([kind, name]): [AuditKind, string] => [kind as AuditKind, name]),
  ];
  return (
    <nav className="kinds" aria-label="Kinds of entries">
      {choices.map(([kind, name]) => (
        <ViewLink key={name} view={to("audit", { kind, site, run })} current={kind === question.kind} replace>
          {name}
        </ViewLink>
      ))}
    </nav>
  );
}

/** What the page is narrowed to, each with a way out. */
function Chosen({ question: { kind, site, run } }: { question: Question }) {
  if (site === null && run === null) return null;
  return (
    <nav className="chips" aria-label="Shown">
      {site !== null && (
        <ViewLink className="chip" view={to("audit", { kind, run })}>
          <span>
            Site <b>{site}</b>
          </span>
          <CrossIcon />
          <span className="sr-only">Show every site</span>
        </ViewLink>
      )}
      {run !== null && (
        <ViewLink className="chip" view={to("audit", { kind, site })}>
          <span>
            Run <b>{run}</b>
          </span>
          <CrossIcon />
          <span className="sr-only">Show every run</span>
        </ViewLink>
      )}
    </nav>
  );
}
