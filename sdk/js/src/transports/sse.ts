import { decode, type Incoming } from "../codec.js";
import type { SubscribeAnswer, WireError } from "../wire.js";
import { Ended, type Fetch, type Follow, HttpLink, refusal } from "./http.js";
import type { Dial } from "./transport.js";

/** How often the server sends a comment where nothing else comes. */
const COMMENT_MS = 15_000;

type Opened = { op: "open"; connection: string; positions: SubscribeAnswer["ok"][] };

/** Messages by server-sent events, everything else by requests. */
export const sse =
  (given?: Fetch): Dial =>
  (url, hear) =>
    new HttpLink(url, hear, given ?? globalThis.fetch.bind(globalThis), follow);

const follow: Follow = async (link, signal) => {
  let answer: Response;
  try {
    answer = await link.fetch(`${link.url}/v1/sse?${link.query}`, { headers: link.headers, signal });
  } catch {
    throw new Ended(undefined, true);
  }
  if (!answer.ok || !answer.body) throw await refusal(answer);
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let reason: WireError | undefined;
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
    if (signal.aborted || done) throw new Ended(reason);
    link.heard(COMMENT_MS);
    const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const frame = read(event);
      if (!frame || signal.aborted) continue;
      if (frame.op === "open") link.begun(frame.positions, frame.connection);
      else link.came(frame);
      if (frame.op === "error") reason = frame.error;
    }
  }
};

/** The object of an event; nothing for a comment. */
function read(event: string): Opened | Exclude<Incoming, { id: number; op?: never }> | undefined {
  const line = event.split("\n").find((line) => line.startsWith("data: "));
  return line === undefined ? undefined : (decode(line.slice("data: ".length)) as ReturnType<typeof read>);
}
