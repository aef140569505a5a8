import { createHmac, randomUUID } from "node:crypto";
import { inject } from "vitest";

async function call<T>(url: string, bearer: string | undefined, body?: unknown, method = "POST"): Promise<T> {
  const answer = await fetch(url, {
    method,
    headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

export type Rights = ("subscribe" | "publish" | "presence" | "history")[];
export type TokenClaims = { client?: string; cap?: Record<string, Rights>; ttlMs?: number; iatMs?: number; jti?: string };

const EVERYTHING: Record<string, Rights> = { "*": ["subscribe", "publish", "presence", "history"] };

/** An app of a tenant of its own, as its backend sees it. */
export class TestApp {
  private constructor(
    readonly url: string,
    readonly id: string,
    readonly key: { id: string; secret: string },
    readonly session: string,
  ) {}

  static async make(url: string = inject("url")): Promise<TestApp> {
    const account = { email: `${randomUUID()}@example.com`, password: "correct horse", tenant: "Acme" };
    const { tenant, session } = await call<{ tenant: { id: string }; session: string }>(`${url}/v1/signup`, undefined, account);
    const app = await call<{ id: string }>(`${url}/v1/tenants/${tenant.id}/apps`, session, { name: "test" });
    const key = await call<{ id: string; secret: string }>(`${url}/v1/apps/${app.id}/keys`, session, { name: "backend" });
    return new TestApp(url, app.id, key, session);
  }

  get bearer(): string {
    return `${this.key.id}.${this.key.secret}`;
  }

  /** A token, signed here as a backend would. */
  token({ client, cap = EVERYTHING, ttlMs = 3_600_000, iatMs = Date.now(), jti }: TokenClaims = {}): string {
    const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString("base64url");
    const times = { iat: iatMs / 1000, exp: (iatMs + ttlMs) / 1000 };
    const signed = `${encode({ alg: "HS256", typ: "JWT", kid: this.key.id })}.${encode({ ...times, cap, ...(client && { sub: client }), ...(jti && { jti }) })}`;
    return `${signed}.${createHmac("sha256", this.key.secret).update(signed).digest("base64url")}`;
  }

  publish(channel: string, data: unknown, more: Record<string, unknown> = {}): Promise<{ message: string; epoch: string; serial: number }> {
    return call(`${this.url}/v1/channels/${encodeURIComponent(channel)}/messages?ack=persisted`, this.bearer, { data, ...more });
  }

  rule(namespace: string, rule: Record<string, unknown>): Promise<unknown> {
    return call(`${this.url}/v1/apps/${this.id}/rules/${namespace}`, this.session, rule, "PUT");
  }

  revoke(what: { token?: string; client?: string; key?: string }): Promise<unknown> {
    return call(`${this.url}/v1/revocations`, this.bearer, what);
  }

  async disconnect(client: string): Promise<void> {
    await fetch(`${this.url}/v1/clients/${client}/connections`, { method: "DELETE", headers: { authorization: `Bearer ${this.bearer}` } });
  }
}

/** Arms a fault on the shared server, or another. */
export async function fault(body: Record<string, unknown>, ops: string = inject("ops")): Promise<void> {
  const answer = await fetch(`${ops}/test/faults`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}
