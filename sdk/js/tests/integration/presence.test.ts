import { afterEach, beforeAll, expect, inject, test } from "vitest";
import { Fanfare, type FanfareOptions, type Members, type Presence } from "../../src/index.node.js";
import { TestApp } from "../server/app.js";

let app: TestApp;
const open: Fanfare[] = [];
beforeAll(async () => void (app = await TestApp.make()));
afterEach(() => open.splice(0).forEach((client) => client.close()));

function join(client: string, options: Partial<FanfareOptions> = {}): Fanfare {
  const made = new Fanfare({ url: inject("url"), getToken: () => app.token({ client }), ...options });
  open.push(made);
  return made;
}

/** Watches, and resolves once the members are as wanted. */
function watched(presence: Presence): (wanted: (members: Members) => boolean) => Promise<void> {
  let look = (): void => undefined;
  presence.watch(() => look());
  return (wanted) => new Promise((resolve) => ((look = () => wanted(presence.members) && resolve()), look()));
}

test("members come, change and go, for who watches", async () => {
  const [ann, bob] = [join("ann"), join("bob")];
  const seen = watched(bob.channel("p:1").presence);
  await ann.channel("p:1").presence.enter({ mood: "fine" });
  await seen((members) => members.get("ann") !== undefined);
  expect(bob.channel("p:1").presence.members.get("ann")?.data).toEqual({ mood: "fine" });
  await ann.channel("p:1").presence.update({ mood: "tired" });
  await seen((members) => JSON.stringify(members.get("ann")?.data) === '{"mood":"tired"}');
  await ann.channel("p:1").presence.leave();
  await seen((members) => members.size === 0);
});

test("who was there before is in the map, and listed", async () => {
  await join("ann").channel("p:2").presence.enter("here");
  const bob = join("bob").channel("p:2").presence;
  await watched(bob)((members) => members.get("ann")?.data === "here");
  expect((await bob.list()).map(({ client }) => client)).toEqual(["ann"]);
});

test("a member that reconnects stays, and its watchers see nothing of it", async () => {
  const [ann, bob] = [join("cut"), join("bob")];
  await ann.channel("p:3").presence.enter(1);
  const left: boolean[] = [];
  const seen = watched(bob.channel("p:3").presence);
  await seen((members) => members.has("cut"));
  bob.channel("p:3").presence.watch((members) => left.push(!members.has("cut")));
  const before = ann.connection.value;
  await app.disconnect("cut");
  await ann.connection.until((state) => state.state === "connected" && JSON.stringify(state) !== JSON.stringify(before));
  await ann.channel("p:3").presence.update(2);
  await seen((members) => members.get("cut")?.data === 2);
  expect(left).not.toContain(true);
});

test("watching a channel that is followed already misses no message", async () => {
  const bob = join("bob").channel("p:4");
  const data: unknown[] = [];
  let look = (): void => undefined;
  await bob.subscribe((message) => (data.push(message.data), look())).ready();
  await app.publish("p:4", 1);
  const seen = watched(bob.presence);
  await app.publish("p:4", 2);
  await join("ann").channel("p:4").presence.enter();
  await seen((members) => members.has("ann"));
  await app.publish("p:4", 3);
  await new Promise<void>((resolve) => ((look = () => data.length >= 3 && resolve()), look()));
  expect(data).toEqual([1, 2, 3]);
});

test.each(["sse", "poll"] as const)("over %s members are seen and listed, and entering needs a WebSocket", async (transport) => {
  await join("ann").channel(`p:${transport}`).presence.enter("here");
  const bob = join("bob", { transports: [transport] }).channel(`p:${transport}`).presence;
  await watched(bob)((members) => members.get("ann")?.data === "here");
  await expect(bob.enter()).rejects.toMatchObject({ code: "websocket_only" });
});
