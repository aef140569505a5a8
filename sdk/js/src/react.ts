import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import type { ChannelState, Fanfare, Member, Message, Published, PublishOptions, SubscribeOptions } from "./index.js";
import type { AnyPayloads, EventsOf } from "./payloads.js";
import type { ConnectionState } from "./client.js";

const Client = createContext<Fanfare<never> | undefined>(undefined);

/** Gives the hooks below it their client. Who makes the client closes it. */
export function FanfareProvider<Map>({ client, children }: { client: Fanfare<Map>; children?: ReactNode }): ReactNode {
  return createElement(Client.Provider, { value: client as unknown as Fanfare<never> }, children);
}

function useClient<Map>(): Fanfare<Map> {
  const client = useContext(Client);
  if (!client) throw new Error("Fanfare's hooks stand below a `FanfareProvider`.");
  return client as unknown as Fanfare<Map>;
}

const UNUSED: ConnectionState = { state: "disconnected" };
const PENDING: ChannelState = { state: "pending" };
const NOBODY: ReadonlyMap<string, Member> = new Map();

/** How the connection is. */
export function useConnection(): ConnectionState {
  const { connection } = useClient();
  return useSyncExternalStore(
    useCallback((changed) => connection.observe(changed), [connection]),
    () => connection.value,
    () => UNUSED,
  );
}

export type UseChannelOptions<Events> = Omit<SubscribeOptions, "signal"> & {
  /** The most messages that are kept; the oldest go first. 100 where it is absent, 0 where only `onMessage` wants them. */
  limit?: number;
  /** Called with each message, the newest one given. */
  onMessage?: (message: Message<Events>) => void;
};

export type UsedChannel<Events> = {
  /** The last messages, the oldest first. */
  messages: readonly Message<Events>[];
  /** Whether that is all there is. */
  state: ChannelState;
  publish<Event extends keyof Events & string>(name: Event, data: Events[Event], options?: PublishOptions): Promise<Published>;
  /** Says that a loss was made good. */
  acceptLoss(): void;
};

/** Follows a channel while the component is there. */
export function useChannel<Map = AnyPayloads, Name extends string = string>(
  name: Name,
  { limit = 100, onMessage, ...start }: UseChannelOptions<EventsOf<Map, Name>> = {},
): UsedChannel<EventsOf<Map, Name>> {
  type Events = EventsOf<Map, Name>;
  const client = useClient<Map>();
  const [messages, setMessages] = useState<readonly Message<Events>[]>([]);
  // What an effect that stays reads is what the last render gave.
  const latest = useRef({ onMessage, start, limit });
  useEffect(() => void (latest.current = { onMessage, start, limit }));

  useEffect(() => {
    const ending = new AbortController();
    setMessages([]);
    client.channel(name).subscribe(
      (message) => {
        const { onMessage, limit } = latest.current;
        onMessage?.(message);
        if (limit > 0) setMessages((before) => [...before, message].slice(-limit));
      },
      { ...latest.current.start, signal: ending.signal },
    );
    return () => ending.abort();
  }, [client, name]);

  const state = useSyncExternalStore(
    useCallback((changed) => client.channel(name).state.observe(changed), [client, name]),
    () => client.channel(name).state.value,
    () => PENDING,
  );
  const publish = useCallback<UsedChannel<Events>["publish"]>((...message) => client.channel(name).publish(...message), [client, name]);
  const acceptLoss = useCallback(() => client.channel(name).acceptLoss(), [client, name]);
  return { messages, state, publish, acceptLoss };
}

export type UsePresenceOptions = {
  /** What this client says of itself; where it is absent the hook only watches. */
  enter?: unknown;
};

/** Who is in a channel, kept up while the component is there. */
export function usePresence(name: string, options: UsePresenceOptions = {}): ReadonlyMap<string, Member> {
  const client = useClient();
  const enters = "enter" in options;
  const data = JSON.stringify(options.enter ?? null);
  const isIn = useRef(false);

  const members = useSyncExternalStore(
    useCallback((changed) => client.channel(name).presence.watch(changed), [client, name]),
    () => client.channel(name).presence.members,
    () => NOBODY,
  );

  useEffect(() => {
    if (!enters) return;
    const { presence } = client.channel(name);
    isIn.current = true;
    // A refusal shows in that this client is not among the members.
    presence.enter(JSON.parse(data)).catch(() => undefined);
    return () => {
      isIn.current = false;
      // A component that comes back at once, as under StrictMode, or says something else has not left.
      queueMicrotask(() => isIn.current || presence.leave().catch(() => undefined));
    };
  }, [client, name, enters, data]);

  return members;
}

/** The same hooks for an app that says what it sends: `const { useChannel } = hooksFor<Payloads>()`. */
export function hooksFor<Map>(): {
  useChannel<Name extends string>(name: Name, options?: UseChannelOptions<EventsOf<Map, Name>>): UsedChannel<EventsOf<Map, Name>>;
  usePresence: typeof usePresence;
  useConnection: typeof useConnection;
} {
  return { useChannel: (name, options) => useChannel<Map, typeof name>(name, options), usePresence, useConnection };
}
