/**
 * Many small events, few reads: runs `refresh` once now and once more after whatever came in meanwhile.
 *
 * A round of this system takes some tens of milliseconds. Reading five resources for each would load the API in
 * proportion to viewers times rounds; this bounds it to one refresh per `pauseMs` and viewer, and loses nothing.
 */
export class Refresher {
  private readonly refresh: () => Promise<unknown>;
  private readonly pauseMs: number;
  private running = false;
  private again = false;
  private stopped = false;

  constructor(refresh: () => Promise<unknown>, pauseMs = 250) {
    this.refresh = refresh;
    this.pauseMs = pauseMs;
  }

  request(): void {
    this.again = true;
    if (!this.running) void this.run();
  }

  stop(): void {
    this.stopped = true;
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.again && !this.stopped) {
      this.again = false;
      // A failed read is shown by the query that it belongs to.
      await this.refresh().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, this.pauseMs));
    }
    this.running = false;
  }
}
