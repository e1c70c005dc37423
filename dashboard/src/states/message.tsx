import type { ReactNode } from "react";

import { ApiError } from "../api/client";
import { to } from "../api/view";
import { ChartIcon, WarningIcon } from "../ui/icons";
import { ViewLink } from "../ui/view-link";

interface MessageProps {
  icon: ReactNode;
  tone: "limit" | "global";
  title: string;
  children: ReactNode;
}

/** What stands in a view's place when there is nothing to show. */
export function Message({ icon, tone, title, children }: MessageProps) {
  return (
    <div className="message">
      <span className={`message-mark tone-${tone}`}>{icon}</span>
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function NoRuns() {
  return (
    <Message icon={<ChartIcon />} tone="global" title="No runs yet">
      <p>Start one, and its first round shows up here a moment after it closes.</p>
      <dl className="commands">
        <dt>On this machine, with three sites</dt>
        <dd>
          <code>make demo</code>
        </dd>
        <dt>On a server that is up</dt>
        <dd>
          <code>fedpriv run --follow</code>
        </dd>
      </dl>
    </Message>
  );
}

export function NoSuchPage() {
  return (
    <Message icon={<WarningIcon />} tone="limit" title="There is no such page">
      <p>The address names none of this dashboard's pages. They are in the list at the side.</p>
      <ViewLink className="button primary" view={to("run")}>
        Show the newest run
      </ViewLink>
    </Message>
  );
}

export function ReadFailed({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const status = error instanceof ApiError ? error.status : null;
  const trace = error instanceof ApiError ? error.traceId : null;
  if (status === 404 || status === 422) {
    return (
      <Message icon={<WarningIcon />} tone="limit" title="There is no such run">
        <p>The link names a run that this server does not have. It may belong to another one.</p>
        <ViewLink className="button primary" view={to("run")}>
          Show the newest run
        </ViewLink>
        <Particulars status={status} trace={trace} />
      </Message>
    );
  }
  return (
    <Message icon={<WarningIcon />} tone="limit" title="The metrics API is not answering">
      <p>
        {error.message} Training is not affected: the server keeps writing its records, and they appear here
        once the API is back. The page tries again by itself.
      </p>
      <button type="button" className="button primary" onClick={onRetry}>
        Try again
      </button>
      <Particulars status={status} trace={trace} />
    </Message>
  );
}

function Particulars({ status, trace }: { status: number | null; trace: string | null }) {
  const parts = [status === null ? "No answer" : `HTTP ${status}`, ...(trace ? [`trace ${trace}`] : [])];
  return (
    <p className="particulars">
      <code>{parts.join(", ")}</code>
    </p>
  );
}
