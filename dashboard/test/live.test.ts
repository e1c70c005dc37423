/** The live connection against a real HTTP server that sends, breaks off and stays away. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { LiveConnection, retryDelay, type LiveState } from "../src/api/live";
import type { ServerSentEvent } from "../src/api/sse";

type Answer = (response: ServerResponse) => void;

let server: Server;
let requests: IncomingMessage[];
let answers: Answer[];
let connection: LiveConnection | null;

const events: ServerSentEvent[] = [];
const states: LiveState[] = [];
let gaps = 0;

const stream = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" });

function follow(firstRetryMs = 5): LiveConnection {
  const { port } = server.address() as AddressInfo;
  connection = new LiveConnection({
    url: `http://127.0.0.1:${port}/events`,
    onEvent: (event) => events.push(event),
    onGap: () => (gaps += 1),
    onState: (state) => states.push(state),
    firstRetryMs,
  });
  connection.open();
  return connection;
}

beforeEach(async () => {
  requests = [];
  answers = [];
  events.length = 0;
  states.length = 0;
  gaps = 0;
  server = createServer((request, response) => {
    requests.push(request);
    const answer = answers.shift();
    if (answer) answer(response);
    else stream(response).write(": waiting\n\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  connection?.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe("the live connection", () => {
  it("resumes after the last event it saw, and reads all anew only the first time", async () => {
    answers = [
      (response) => stream(response).end("id: 1-a\nevent: round_closed\ndata: {}\n\nid: 2-b\ndata: {}\n\n"),
      (response) => stream(response).write("id: 3-c\ndata: {}\n\n"),
    ];
    follow();
    await vi.waitFor(() => {
      expect(events.map((event) => event.id)).toEqual(["1-a", "2-b", "3-c"]);
    });
    expect(requests.map((request) => request.headers["last-event-id"])).toEqual([undefined, "2-b"]);
    expect(gaps).toBe(1);
  });

  it("says that it waits from the first failure until events flow again", async () => {
    const away: Answer = (response) => response.writeHead(502).end();
    answers = [away, away, away];
    follow();
    await vi.waitFor(() => {
      expect(states.at(-1)?.phase).toBe("live");
    });
    const waits = states.filter((state) => state.phase === "waiting");
    expect(states.map((state) => state.phase)).toEqual([
      "connecting",
      "waiting",
      "waiting",
      "waiting",
      "live",
    ]);
    expect(new Set(waits.map((wait) => wait.since)).size).toBe(1);
  });

  it("takes a reset as a gap, not as an event", async () => {
    answers = [(response) => stream(response).write("id: 9-z\nevent: reset\ndata: {}\n\n")];
    follow();
    await vi.waitFor(() => {
      expect(gaps).toBe(2);
    });
    expect(events).toEqual([]);
  });

  it("asks no more once it is closed", async () => {
    answers = [(response) => response.writeHead(502).end()];
    const live = follow(60_000);
    await vi.waitFor(() => {
      expect(states.at(-1)?.phase).toBe("waiting");
    });
    live.close();
    const seen = requests.length;
    live.retry();
    expect(requests.length).toBe(seen);
  });
});

describe("the wait before a retry", () => {
  it("doubles, with jitter, to at most 15 s", () => {
    expect(retryDelay(0, 1000, () => 0)).toBe(500);
    expect(retryDelay(0, 1000, () => 1)).toBe(1000);
    expect(retryDelay(3, 1000, () => 1)).toBe(8000);
    expect(retryDelay(30, 1000, () => 1)).toBe(15_000);
  });
});
