/** What an app sends: for each channel name, or each prefix with a final `*`, the names of its events and their data. */
export type Payloads = { [pattern: string]: { [event: string]: unknown } };

/** Any channel, any event. */
export type AnyPayloads = { "*": { [event: string]: unknown } };

type Matches<Name extends string, Pattern> = Pattern extends Name
  ? true
  : Pattern extends `${infer Prefix}*`
    ? Name extends `${Prefix}${string}`
      ? true
      : false
    : false;

type Matching<Map, Name extends string> = { [Pattern in keyof Map]: Matches<Name, Pattern> extends true ? Pattern : never }[keyof Map];

/** The events of a channel; any where the map does not name it. */
export type EventsOf<Map, Name extends string> = [Matching<Map, Name>] extends [never]
  ? { [event: string]: unknown }
  : Map[Matching<Map, Name>];

/** A message as it is handed to the app. */
export type Message<Events = { [event: string]: unknown }> = {
  [Event in keyof Events & string]: {
    readonly channel: string;
    /** Its place in the channel; an ephemeral message has none. */
    readonly serial?: number;
    readonly id: string;
    /** When it was accepted, in milliseconds since 1970. */
    readonly time: number;
    /** The event's name; empty where it has none. */
    readonly name: Event;
    readonly data: Events[Event];
    /** Who published it. */
    readonly client?: string;
    readonly headers?: Readonly<Record<string, string>>;
  };
}[keyof Events & string];
