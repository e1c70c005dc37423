/**
 * One live connection to an event stream that heals itself.
 *
 *   connecting ──> live ──(ends, fails, silent)──> waiting ──> connecting …
 *        └────────────── hidden for a minute ──> paused ──(visible)──> connecting
 *
 * It resumes after the last event it saw. Where nothing can be resumed it says so by `onGap`, and the page
 * then reads everything again; so a page that is live has missed nothing.
 */
import { told } from "./client";
import { keyHeaders } from "./key";
import { EventStreamParser, type ServerSentEvent } from "./sse";

export type LiveState =
  | { phase: "connecting" }
  | { phase: "live" }
  | { phase: "waiting"; since: number; retryAt: number }
  | { phase: "paused" };

export interface LiveOptions {
  url: string;
  onEvent: (event: ServerSentEvent) => void;
  /** Events may have been missed: read everything again. */
  onGap: () => void;
  onState: (state: LiveState) => void;
  firstRetryMs?: number;
}

const LONGEST_RETRY_MS = 15_000;
/** The API sends at least a comment every 15 s; twice that in silence means that the connection is dead. */
const SILENCE_MS = 35_000;
const HIDDEN_MS = 60_000;

/** Wait before the n-th retry (n from 0): doubling, with jitter so that viewers do not come back all at once. */
export function retryDelay(attempt: number, firstMs: number, random: () => number = Math.random): number {
  const full = Math.min(LONGEST_RETRY_MS, firstMs * 2 ** attempt);
  return full * (0.5 + random() / 2);
}

export class LiveConnection {
  private readonly options: LiveOptions;
  private lastEventId = "";
  private attempt = 0;
  private downSince: number | null = null;
  private abort: AbortController | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  constructor(options: LiveOptions) {
    this.options = options;
  }

  open(): void {
    if (typeof document !== "undefined") document.addEventListener("visibilitychange", this.onVisibility);
    void this.connect();
  }

  close(): void {
    this.closed = true;
    if (typeof document !== "undefined") document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.hiddenTimer);
    this.disconnect();
  }

  /** Try now instead of at the end of the wait. */
  retry(): void {
    if (this.closed) return;
    this.disconnect();
    void this.connect();
  }

  private disconnect(): void {
    clearTimeout(this.retryTimer);
    clearTimeout(this.silenceTimer);
    this.abort?.abort();
    this.abort = null;
  }

  private readonly onVisibility = (): void => {
    clearTimeout(this.hiddenTimer);
    if (document.visibilityState === "hidden") {
      this.hiddenTimer = setTimeout(() => {
        this.disconnect();
        this.options.onState({ phase: "paused" });
      }, HIDDEN_MS);
    } else if (!this.abort) {
      this.attempt = 0;
      this.retry();
    }
  };

  private async connect(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    // A retry that is under way is still an interruption to the reader: the banner stays until data flow again.
    if (this.downSince === null) this.options.onState({ phase: "connecting" });
    try {
      this.listen(abort);
      const response = await fetch(this.options.url, {
        headers: {
          accept: "text/event-stream",
          ...keyHeaders(),
          ...(this.lastEventId ? { "last-event-id": this.lastEventId } : {}),
        },
        cache: "no-store",
        signal: abort.signal,
      });
      if (!response.ok || !response.body) throw await told(response);
      this.attempt = 0;
      this.downSince = null;
      this.options.onState({ phase: "live" });
      if (!this.lastEventId) this.options.onGap();
      await this.read(response.body, abort);
    } catch {
      // Why the stream failed changes nothing: the page says that it is interrupted and tries again.
    }
    if (this.abort === abort) this.wait();
  }

  private async read(body: ReadableStream<Uint8Array<ArrayBuffer>>, abort: AbortController): Promise<void> {
    const parser = new EventStreamParser(this.lastEventId);
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.abort !== abort) return;
      this.listen(abort);
      for (const event of parser.push(value)) this.take(event);
    }
  }

  private take(event: ServerSentEvent): void {
    this.lastEventId = event.id;
    if (event.event === "reset") this.options.onGap();
    else this.options.onEvent(event);
  }

  /** Start counting silence anew. */
  private listen(abort: AbortController): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => {
      abort.abort();
    }, SILENCE_MS);
  }

  private wait(): void {
    clearTimeout(this.silenceTimer);
    this.abort = null;
    const delay = retryDelay(this.attempt, this.options.firstRetryMs ?? 1000);
    this.attempt += 1;
    const now = Date.now();
    this.downSince ??= now;
    this.options.onState({ phase: "waiting", since: this.downSince, retryAt: now + delay });
    this.retryTimer = setTimeout(() => void this.connect(), delay);
  }
}
