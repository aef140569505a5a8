import type { Channel } from "./channel.js";
import { FanfareError } from "./errors.js";
import { type Abortable, Observed } from "./observed.js";
import type { Member, MembersAnswer, PresenceEvent, SubscribeAnswer, WireError } from "./wire.js";

export type { Member };

/** Who is in a channel, by client. */
export type Members = ReadonlyMap<string, Member>;

/** The presence of one channel. */
export class Presence {
  #channel: Channel<never>;
  #members = new Observed<Members>(new Map());
  #watchers = 0;
  #stopWatching: (() => void) | undefined;
  /** What this client says of itself, while it is in. */
  #entered: { data: unknown } | undefined;
  /** Events that came while the list was read; they win. */
  #meanwhile: PresenceEvent[] | undefined;

  constructor(channel: Channel<never>) {
    this.#channel = channel;
    channel.shell.presence.set(channel.name, (event) => ("action" in event ? this.#happened(event) : this.#attached(event)));
    // Whoever is in comes in again with each new connection; the server holds the place for a moment.
    channel.shell.connection.observe(({ state }) => {
      if (state === "connected" && this.#entered) void this.#ask("enter", this.#entered.data).catch(() => undefined);
    });
  }

  /** Who is here. It is kept up while it is watched. */
  get members(): Members {
    return this.#members.value;
  }

  /** Keeps the members up to date, and tells of each change, until what is returned is called. */
  watch(listener: (members: Members) => void = () => undefined, { signal }: Abortable = {}): () => void {
    if (signal?.aborted) return () => undefined;
    const stop = this.#members.observe(listener);
    this.#watchers += 1;
    this.#stopWatching ??= this.#channel.watch();
    let isOver = false;
    const leave = (): void => {
      if (isOver) return;
      isOver = true;
      stop();
      this.#watchers -= 1;
      if (this.#watchers > 0) return;
      this.#stopWatching?.();
      this.#stopWatching = undefined;
    };
    signal?.addEventListener("abort", leave, { once: true });
    return leave;
  }

  /** Enters, or says something else; this client stays in, over reconnects, until it leaves. */
  async enter(data: unknown = null, options?: Abortable): Promise<void> {
    this.#entered = { data };
    try {
      await this.#ask("enter", data, options);
    } catch (error) {
      this.#entered = undefined;
      throw error;
    }
  }

  /** Changes what others see of this client. */
  async update(data: unknown, options?: Abortable): Promise<void> {
    if (this.#entered) this.#entered = { data };
    await this.#ask("update", data, options);
  }

  /** Leaves, with a last word. */
  async leave(data?: unknown, options?: Abortable): Promise<void> {
    this.#entered = undefined;
    await this.#ask("leave", data, options);
  }

  /** Reads who is there now. */
  async list(options?: Abortable): Promise<Member[]> {
    const members: Member[] = [];
    for (let next: string | null | undefined; next !== null;) {
      const question = {
        op: "presence" as const,
        channel: this.#channel.name,
        action: "list" as const,
        ...(next !== undefined && { next }),
      };
      const page = (await this.#put(question, options)) as MembersAnswer["ok"];
      members.push(...page.items);
      next = page.next ?? null;
    }
    return members;
  }

  #ask(action: "enter" | "update" | "leave", data: unknown, options?: Abortable): Promise<unknown> {
    return this.#put({ op: "presence", channel: this.#channel.name, action, ...(data !== undefined && { data }) }, options);
  }

  #put(
    question: { op: "presence"; channel: string; action: "enter" | "update" | "leave" | "list" },
    options?: Abortable,
  ): Promise<unknown> {
    return this.#channel.shell.put((ticket) => ({ type: "ask", ticket, question }), options?.signal);
  }

  /** From here on no change is missed: who is there already is asked for. */
  #attached(_: SubscribeAnswer["ok"]): void {
    if (!this.#stopWatching || this.#meanwhile) return;
    this.#meanwhile = [];
    this.list().then(
      (listed) => {
        const members = new Map(listed.map((member) => [member.client, member]));
        for (const event of this.#meanwhile ?? []) apply(members, event);
        this.#meanwhile = undefined;
        this.#members.set(members);
      },
      (error: WireError) => {
        this.#meanwhile = undefined;
        if (!(error instanceof FanfareError)) throw error;
      },
    );
  }

  #happened(event: PresenceEvent): void {
    this.#meanwhile?.push(event);
    const members = new Map(this.members);
    apply(members, event);
    this.#members.set(members);
  }
}

function apply(members: Map<string, Member>, { action, client, connection, data = null, info, time }: PresenceEvent): void {
  if (action === "leave") return void members.delete(client);
  const since = members.get(client)?.since ?? time;
  members.set(client, { client, connection, data, since, ...(info !== undefined && { info }) });
}

const known = new WeakMap<Channel<never>, Presence>();

/** The presence of a channel; always the same one. */
export function presence<Events>(channel: Channel<Events>): Presence {
  const key = channel as unknown as Channel<never>;
  const there = known.get(key) ?? new Presence(key);
  known.set(key, there);
  return there;
}
