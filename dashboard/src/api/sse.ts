/** Server-sent events out of a byte stream (WHATWG HTML, 9.2.6), for streams that EventSource cannot open. */

export interface ServerSentEvent {
  /** Id of the last event that carried one, this one included; what a reconnect resumes from. */
  id: string;
  event: string;
  data: string;
}

/** Turns chunks of text, cut anywhere, into events. */
export class EventStreamParser {
  private buffer = "";
  private id = "";
  private event = "";
  private data: string[] = [];

  constructor(lastEventId = "") {
    this.id = lastEventId;
  }

  /** Events completed by `chunk`. */
  push(chunk: string): ServerSentEvent[] {
    this.buffer += chunk;
    const events: ServerSentEvent[] = [];
    for (;;) {
      const end = /\r\n|\r(?!$)|\n/.exec(this.buffer);
      if (!end) return events;
      const line = this.buffer.slice(0, end.index);
      this.buffer = this.buffer.slice(end.index + end[0].length);
      if (line !== "") {
        this.field(line);
        continue;
      }
      if (this.data.length > 0) {
        events.push({ id: this.id, event: this.event || "message", data: this.data.join("\n") });
      }
      this.event = "";
      this.data = [];
    }
  }

  private field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment, which only keeps the connection open
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
  }
}
