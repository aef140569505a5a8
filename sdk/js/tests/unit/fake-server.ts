import type { Member, Request } from "../../src/wire.js";
import type { SocketClass } from "../../src/transports/websocket.js";

/** A server within the process, for one client: it answers at once, and only what is asked of it here. */
export class FakeServer {
  sockets = 0;
  /** Everything that was asked of presence, in order. */
  readonly actions: string[] = [];
  #heads = new Map<string, number>();
  #follows = new Map<string, boolean>();
  #members = new Map<string, Member>();
  #say: ((frame: object) => void) | undefined;

  readonly Socket: SocketClass;

  constructor() {
    const server = this;
    this.Socket = class {
      onopen: (() => void) | null = null;
      onmessage: ((event: { data: unknown }) => void) | null = null;
      onclose: ((event: { code: number }) => void) | null = null;
      onerror: (() => void) | null = null;
      constructor() {
        server.sockets += 1;
        server.#say = (frame) => this.onmessage?.({ data: JSON.stringify(frame) });
        queueMicrotask(() => this.onopen?.());
      }
      send(text: string): void {
        queueMicrotask(() => server.#answer(JSON.parse(text) as Request));
      }
      close(): void {
        server.#say = undefined;
        server.#follows.clear();
      }
    } as unknown as SocketClass;
  }

  get followed(): string[] {
    return [...this.#follows.keys()];
  }

  publish(channel: string, ...data: unknown[]): void {
    for (const one of data) {
      const serial = (this.#heads.get(channel) ?? 0) + 1;
      this.#heads.set(channel, serial);
      if (this.#follows.has(channel)) this.#say?.({ op: "message", channel, serial, id: `msg_${serial}`, time: 0, data: one });
    }
  }

  /** Resolves when everything that was asked is answered, and what follows from that. */
  async settled(): Promise<void> {
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  }

  #answer(request: Request): void {
    const ok = (answer: object): void => this.#say?.({ id: (request as { id: number }).id, ok: answer });
    switch (request.op) {
      case "connect":
        return ok({
          connection: "con_1",
          app: "app_1",
          client: "me",
          ping_ms: 25_000,
          limits: { message_bytes: 1, channels: 9, requests_per_s: 100 },
        });
      case "subscribe":
        this.#follows.set(request.channel, request.presence ?? false);
        return ok({
          channel: request.channel,
          epoch: "e",
          serial: this.#heads.get(request.channel) ?? 0,
          backlog: 0,
          ...(request.since && { resumed: true }),
        });
      case "unsubscribe":
        this.#follows.delete(request.channel);
        return ok({});
      case "presence": {
        const { action, channel, data = null } = request;
        if (action === "list") return ok({ items: [...this.#members.values()], count: this.#members.size, next: null });
        const before = this.actions.at(-1) ?? "";
        this.actions.push(`${before.split(" ").at(-1)} ${action}`.trim());
        const member = { client: "me", connection: "con_1", data };
        const event = action === "enter" && this.#members.has("me") ? "update" : action;
        if (action === "leave") this.#members.delete("me");
        else this.#members.set("me", { ...member, since: 0 });
        ok({});
        if (this.#follows.get(channel)) this.#say?.({ op: "presence", channel, action: event, ...member, time: 0 });
        return;
      }
      default:
        return ok({});
    }
  }
}
