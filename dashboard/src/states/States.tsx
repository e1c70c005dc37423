import { ApiError } from "../api/client";

/** The page's geometry before the first answer, so that nothing moves when it comes. */
export function Skeleton() {
  return (
    <div aria-busy="true" aria-label="Loading the run">
      <div className="card strip skeleton" />
      <div className="grid">
        {["accuracy", "loss", "lifetime", "run"].map((name) => (
          <div key={name} className="card chart-card skeleton" />
        ))}
      </div>
    </div>
  );
}

export function Empty() {
  return (
    <section className="card state">
      <h2>No run yet</h2>
      <p>Start one and it appears here by itself:</p>
      <pre>fedpriv run --follow</pre>
      <p className="muted">
        On this machine, with three sites and the Wisconsin breast-cancer table: make demo
      </p>
    </section>
  );
}

export function Failed(props: { error: Error; onRetry: () => void }) {
  const { error } = props;
  return (
    <section className="card state" role="alert">
      <h2>The figures cannot be read</h2>
      <p>{error.message} Training goes on: it does not depend on this page.</p>
      {error instanceof ApiError && (
        <p className="muted">
          {error.status === null ? "No answer" : `Status ${error.status}`}
          {error.traceId && `, trace ${error.traceId}`}
        </p>
      )}
      <button type="button" className="button" onClick={props.onRetry}>
        Try again
      </button>
    </section>
  );
}
