/** The statement before it has come: a sheet with the lines of one. */
export function StatementSkeleton() {
  return (
    <div className="statement-page" aria-busy="true">
      <p className="sr-only" role="status">
        Loading the privacy statement
      </p>
      <div className="statement-actions" aria-hidden="true">
        <span className="bone block" style={{ inlineSize: "30rem", blockSize: 28 }} />
      </div>
      <div className="statement" aria-hidden="true">
        {["11rem", "18rem", "26rem"].map((width) => (
          <p key={width}>
            <span className="bone" style={{ inlineSize: width }} />
          </p>
        ))}
        <div className="bone block" style={{ blockSize: 92 }} />
        {["100%", "92%", "96%", "40%"].map((width) => (
          <p key={width}>
            <span className="bone" style={{ inlineSize: width }} />
          </p>
        ))}
        <div className="bone block" style={{ blockSize: 220 }} />
      </div>
    </div>
  );
}
