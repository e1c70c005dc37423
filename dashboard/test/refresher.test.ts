import { describe, expect, it, vi } from "vitest";

import { Refresher } from "../src/api/refresher";

describe("the refresher", () => {
  it("makes one refresh of many requests, and one more for what came in meanwhile", async () => {
    const finish: (() => void)[] = [];
    const refresh = vi.fn(() => new Promise<void>((resolve) => finish.push(resolve)));
    const refresher = new Refresher(refresh, 0);
    for (let event = 0; event < 20; event += 1) refresher.request();
    expect(refresh).toHaveBeenCalledTimes(1);
    finish[0]?.();
    await vi.waitFor(() => {
      expect(refresh).toHaveBeenCalledTimes(2);
    });
    finish[1]?.();
    refresher.request();
    await vi.waitFor(() => {
      expect(refresh).toHaveBeenCalledTimes(3);
    });
    refresher.stop();
  });

  it("goes on after a refresh that failed", async () => {
    const refresh = vi.fn().mockRejectedValueOnce(new Error("away")).mockResolvedValue(undefined);
    const refresher = new Refresher(refresh, 0);
    refresher.request();
    await vi.waitFor(() => {
      expect(refresh).toHaveBeenCalledTimes(1);
    });
    refresher.request();
    await vi.waitFor(() => {
      expect(refresh).toHaveBeenCalledTimes(2);
    });
  });
});
