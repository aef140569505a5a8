import type { Channel } from "./channel.js";
import type { Abortable } from "./observed.js";
import type { Message } from "./payloads.js";
import type { HistoryAnswer } from "./wire.js";

/** Where history is read from: upwards after a serial, or downwards before one; downwards from the newest where neither is given. */
export type HistoryOptions = Abortable & {
  after?: number;
  before?: number;
  /** How many messages a request asks for, 1 to 1,000. */
  pageSize?: number;
};

/** The channel's past, page by page as the loop goes on. */
export async function* history<Events>(
  channel: Channel<Events>,
  { after, before, pageSize = 100, signal }: HistoryOptions = {},
): AsyncGenerator<Message<Events>, void, void> {
  const isUpwards = after !== undefined;
  let from = after ?? before;
  for (;;) {
    const place = from === undefined ? {} : isUpwards ? { after: from } : { before: from };
    const question = { op: "history" as const, channel: channel.name, limit: pageSize, ...place };
    const page = (await channel.shell.put((ticket) => ({ type: "ask", ticket, question }), signal)) as HistoryAnswer["ok"];
    for (const { name = "", ...item } of page.items) {
      yield { ...item, name } as unknown as Message<Events>;
      signal?.throwIfAborted();
    }
    const last = page.items.at(-1);
    if (!page.more || !last) return;
    from = last.serial;
  }
}
