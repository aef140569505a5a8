import { Channel } from "./channel.js";
import { FanfareCore } from "./client.js";
import { history, type HistoryOptions } from "./history.js";
import type { AnyPayloads, EventsOf, Message } from "./payloads.js";
import { type Presence, presence } from "./presence.js";
import type { Shell } from "./shell.js";

/** A channel with everything: messages, presence, history. */
export class FullChannel<Events = { [event: string]: unknown }> extends Channel<Events> {
  /** Who is here. */
  get presence(): Presence {
    return presence(this);
  }

  /** The channel's past, for `for await`. */
  history(options?: HistoryOptions): AsyncGenerator<Message<Events>, void, void> {
    return history(this, options);
  }
}

/** A client of Fanfare. */
export class Fanfare<Map = AnyPayloads> extends FanfareCore<Map> {
  override channel<Name extends string>(name: Name): FullChannel<EventsOf<Map, Name>> {
    return super.channel(name) as FullChannel<EventsOf<Map, Name>>;
  }

  /** @internal */
  protected override open<Events>(shell: Shell, name: string): Channel<Events> {
    return new FullChannel<Events>(shell, name);
  }
}
