import { useQueryClient } from "@tanstack/react-query";
import { useId, useState, type ReactNode, type SyntheticEvent } from "react";

import { ApiError, whoIs } from "../api/client";
import { signIn, useKey } from "../api/key";
import { Shield } from "../ui/icons";

/** The page, or the question for a key while the API answers nothing without one. */
export function KeyGate({ children }: { children: ReactNode }) {
  const { asked } = useKey();
  return asked === null ? children : <KeyForm />;
}

function KeyForm() {
  const queries = useQueryClient();
  const field = useId();
  const [fault, setFault] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);

  async function submit(event: SyntheticEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get("key");
    const key = typeof given === "string" ? given.trim() : "";
    if (key === "") return;
    setBusy(true);
    try {
      await whoIs(key);
      // What another key was told is not for this one.
      queries.clear();
      signIn(key);
    } catch (error) {
      setFault(error instanceof ApiError ? error : new ApiError("The key could not be tried."));
      setBusy(false);
    }
  }

  return (
    <main className="key" id="content">
      <form className="card key-form" onSubmit={(event) => void submit(event)}>
        <span className="brand-mark">
          <Shield />
        </span>
        <h1>This metrics API asks for a key</h1>
        <p>
          Whoever operates it gives you one. It stays in this tab, is sent to this API only, and is forgotten
          when the tab is closed.
        </p>
        <label htmlFor={field}>API key</label>
        <input
          id={field}
          name="key"
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          autoFocus
          aria-invalid={fault !== null}
          aria-describedby={fault ? `${field}-fault` : undefined}
        />
        {fault && (
          <div className="key-fault" id={`${field}-fault`} role="alert">
            <p>{fault.message}</p>
            {fault.traceId && (
              <p className="particulars">
                <code>
                  {fault.status === null ? "No answer" : `HTTP ${fault.status}`}, trace {fault.traceId}
                </code>
              </p>
            )}
          </div>
        )}
        <button type="submit" className="button primary" disabled={busy}>
          {busy ? "Trying the key" : "Continue"}
        </button>
      </form>
    </main>
  );
}
