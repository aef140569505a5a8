import type { Incoming } from "../codec.js";
import type { SubscribeAnswer } from "../wire.js";
import { Ended, type Fetch, type Follow, HttpLink } from "./http.js";
import type { Dial } from "./transport.js";

const WAIT_MS = 25_000;

type Page = { messages: Incoming[]; positions: SubscribeAnswer["ok"][] };

/** Messages by asking for them again and again, everything else by requests. */
export const poll =
  (given?: Fetch): Dial =>
  (url, hear) =>
    new HttpLink(url, hear, given ?? globalThis.fetch.bind(globalThis), follow);

const follow: Follow = async (link, signal) => {
  // The first is answered at once, by which the transport is known to work.
  for (let wait = 0; ; wait = WAIT_MS) {
    const page = await link.json<Page>(`/v1/poll?${link.query}&wait_ms=${wait}`, { signal });
    if (signal.aborted) throw new Ended(undefined);
    link.heard(WAIT_MS);
    link.begun(page.positions);
    for (const frame of page.messages) if (!signal.aborted) link.came(frame);
  }
};
