import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { API } from "./client";
import { LiveConnection, type LiveState } from "./live";
import { Refresher } from "./refresher";

export interface Live {
  state: LiveState;
  /** When the page last knew itself to be up to date, in ms of the browser's clock. */
  updatedAt: number;
  retry: () => void;
}

/**
 * Keeps every query on the page fresh. One stream per tab, because HTTP/1.1 gives all tabs together six
 * connections: the run's own while it is active (`activeRun`), else the one that tells of new runs.
 */
export function useLive(activeRun: string | null): Live {
  const client = useQueryClient();
  const [state, setState] = useState<LiveState>({ phase: "connecting" });
  const [updatedAt, setUpdatedAt] = useState(() => Date.now());
  const connection = useRef<LiveConnection | null>(null);

  useEffect(() => {
    const refresher = new Refresher(async () => {
      // What is paced asks by itself now and then.
      await client.refetchQueries(
        { type: "active", predicate: (query) => query.meta?.paced !== true },
        { throwOnError: true },
      );
      setUpdatedAt(Date.now());
    });
    const refresh = () => {
      refresher.request();
    };
    const live = new LiveConnection({
      url: activeRun ? `${API}/runs/${encodeURIComponent(activeRun)}/events` : `${API}/events`,
      onEvent: refresh,
      onGap: refresh,
      onState: setState,
    });
    connection.current = live;
    live.open();
    return () => {
      live.close();
      refresher.stop();
    };
  }, [client, activeRun]);

  return {
    state,
    updatedAt,
    retry: () => {
      connection.current?.retry();
      void client.refetchQueries({ type: "active" });
    },
  };
}
