import type { RunState } from "../api/types";

/** A run's state as a shape; always beside its words. */
export function RunMark({ state }: { state: RunState }) {
  return (
    <svg
      className={`run-mark ${state}`}
      width="14"
      height="14"
      viewBox="0 0 14 14"
      aria-hidden="true"
      focusable="false"
    >
      {state === "active" && (
        <>
          <circle className="halo" cx="7" cy="7" r="6.5" />
          <circle cx="7" cy="7" r="3.5" />
        </>
      )}
      {state === "finished" && <path className="stroke" d="M3 7.4l2.7 2.7L11 4.4" />}
      {state === "halted" && <path d="M7 1.8L12.2 7 7 12.2 1.8 7z" />}
      {state === "failed" && <path className="stroke" d="M3.4 3.4l7.2 7.2M10.6 3.4l-7.2 7.2" />}
      {state === "cancelled" && <path className="stroke" d="M3 7h8" />}
    </svg>
  );
}
