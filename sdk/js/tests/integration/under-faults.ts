import { afterAll, afterEach, beforeAll, beforeEach, describe, vi } from "vitest";
import type { TransportName } from "../../src/index.js";
import { fault } from "../server/app.js";
import { FanfareServer } from "../server/fanfare.js";
import { type Suite, suite } from "./suite.js";

/** What is made at each moment of trouble. Where a fault strikes only at a new connection, it comes with the loss of the old one. */
const FAULTS: Record<string, { faults: Record<string, unknown>[]; loses?: boolean }> = {
  "dropped connections": { faults: [{ fault: "drop" }] },
  "delayed frames": { faults: [{ fault: "delay", ms: 40, count: 6 }] },
  "doubled messages": { faults: [{ fault: "duplicate", count: 8 }] },
  "a stall": { faults: [{ fault: "stall", ms: 300 }] },
  "tokens that expired a while ago": { faults: [{ fault: "expire" }] },
  "tokens that expire in a moment": { faults: [{ fault: "expire", in_ms: 100 }] },
  "refused connections": { faults: [{ fault: "refuse", count: 2 }, { fault: "drop" }] },
  "refused tokens": { faults: [{ fault: "refuse", count: 1, code: "bad_token" }, { fault: "drop" }] },
  "lost positions": { faults: [{ fault: "lose_position", count: 1 }, { fault: "drop" }], loses: true },
};

/** The whole suite over one transport, under every fault; on a server of its own, since a fault strikes everyone. */
export function underFaults(transport: TransportName): void {
  let server: FanfareServer;
  beforeAll(async () => void (server = await FanfareServer.start()));
  afterAll(() => server.remove());

  // A client comes back after a pause by chance: here a short one.
  beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0.05));
  afterEach(async () => {
    vi.restoreAllMocks();
    await fault({ fault: "clear" }, server.ops);
  });

  describe.each(Object.entries(FAULTS))("with %s", (_, { faults, loses = false }) => {
    const trouble: Suite["trouble"] = async () => {
      for (const one of faults) await fault(one, server.ops);
    };
    suite({ transport, url: () => server.url, trouble, loses });
  });
}
