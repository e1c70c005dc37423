import { describe, expect, it } from "vitest";

import { EventStreamParser } from "../src/api/sse";

const STREAM =
  'id: 7\nevent: round_closed\ndata: {"round":1}\n\n: still here\n\ndata: a\r\ndata: b\r\n\r\nevent: nothing\n\n';

describe("the event stream", () => {
  it("reads the same events however the stream is cut", () => {
    const whole = new EventStreamParser().push(STREAM);
    expect(whole).toEqual([
      { id: "7", event: "round_closed", data: '{"round":1}' },
      { id: "7", event: "message", data: "a\nb" },
    ]);
    for (let cut = 1; cut < STREAM.length; cut += 1) {
      const parser = new EventStreamParser();
      expect([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))]).toEqual(whole);
    }
  });

  it("goes on from the id it resumes at", () => {
    expect(new EventStreamParser("41").push("data: x\n\n")[0]?.id).toBe("41");
  });

  it("takes one space after the colon, and fields without a value", () => {
    expect(new EventStreamParser().push("data:  two\ndata\n\n")[0]?.data).toBe(" two\n");
  });
});
