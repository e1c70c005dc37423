/** The page before its entries have come. */
export function AuditSkeleton() {
  return (
    <div className="run" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the audit log
      </p>
      {[150, 420].map((height) => (
        <div className="card" key={height} aria-hidden="true">
          <div className="card-header">
            <span className="bone" style={{ inlineSize: "16rem" }} />
          </div>
          <div className="bone block" style={{ blockSize: height, margin: "0 var(--pad) var(--pad)" }} />
        </div>
      ))}
    </div>
  );
}
