/** Reads of the API: one function, one error class that says enough to act on. */
import { keyHeaders, keyWanted } from "./key";
import type { Me, Problem, Readiness } from "./types";

export const API = "/api/v1";

/** An answer that takes longer than this is no answer; the page then says so instead of waiting in silence. */
const DEADLINE_MS = 10_000;

/** A read that failed. `status` is null when nothing answered at all. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number | null;
  readonly traceId: string | null;
  /** Why a parameter is not allowed, by its name. */
  readonly faults: Readonly<Record<string, string>>;

  constructor(
    message: string,
    status: number | null = null,
    traceId: string | null = null,
    faults: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.traceId = traceId;
    this.faults = faults;
  }

  /** Asking again cannot help: the API understood and has no such thing. */
  get final(): boolean {
    return this.status !== null && this.status >= 400 && this.status < 500 && this.status !== 429;
  }
}

/** The problem document of a failed answer, or null where the body is none (a proxy's page, an empty body). */
async function problemOf(response: Response): Promise<Partial<Problem> | null> {
  if (!response.headers.get("content-type")?.includes("json")) return null;
  try {
    return (await response.json()) as Partial<Problem>;
  } catch {
    return null;
  }
}

/** Turns an answer that is not 2xx into an ApiError. */
export async function errorOf(response: Response): Promise<ApiError> {
  const problem = await problemOf(response);
  const message = problem?.detail ?? `The metrics API answered with status ${response.status}.`;
  const faults = Object.fromEntries(
    (problem?.errors ?? []).map(({ where = "", message: why = "" }) => [where.replace(/^query\./, ""), why]),
  );
  return new ApiError(
    message,
    response.status,
    problem?.trace_id ?? response.headers.get("x-trace-id"),
    faults,
  );
}

/** The same, and if a key is missing or no longer good, the page asks for one. */
export async function told(response: Response): Promise<ApiError> {
  const error = await errorOf(response);
  if (error.status === 401) keyWanted(error.message);
  return error;
}

/** Who holds this key. An ApiError says why nobody does, or that the API cannot be asked. */
export async function whoIs(key: string): Promise<Me> {
  let response: Response;
  try {
    const headers = { accept: "application/json", authorization: `Bearer ${key}` };
    response = await fetch(`${API}/me`, { headers, signal: AbortSignal.timeout(DEADLINE_MS) });
  } catch (error) {
    // A header takes no other characters; a key that holds them is none.
    if (error instanceof TypeError && /[^\x21-\x7e]/.test(key)) throw new ApiError("This is no key.");
    throw new ApiError("The metrics API cannot be reached.");
  }
  if (!response.ok) throw await errorOf(response);
  return (await response.json()) as Me;
}

/** GET `path` below the API's root and `read` the answer, if it is 2xx; whatever else happens is an ApiError. */
export async function ask<T>(
  path: string,
  accept: string,
  read: (response: Response) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  let response: Response;
  try {
    response = await fetch(API + path, {
      headers: { accept, ...keyHeaders() },
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    if (response.ok) return await read(response);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(
      deadline.aborted
        ? `The metrics API did not answer within ${DEADLINE_MS / 1000} s.`
        : "The metrics API cannot be reached.",
    );
  }
  throw await told(response);
}

/** The JSON at `path`. The browser's cache revalidates by ETag. */
export function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return ask(path, "application/json", async (response) => (await response.json()) as T, signal);
}

/** The API's own word on whether its answers are of now; 503 is such a word too. */
export async function readiness(signal: AbortSignal): Promise<Readiness> {
  const response = await fetch("/api/readyz", {
    signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
  });
  if (!response.ok && response.status !== 503) throw await errorOf(response);
  return (await response.json()) as Readiness;
}
