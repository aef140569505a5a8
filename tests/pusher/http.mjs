// Pusher's server library for Node against a node of Fanfare: everything that it can ask over HTTP.
import assert from "node:assert/strict";
import Pusher from "pusher";

const { PUSHER_APP_ID, PUSHER_KEY, PUSHER_SECRET, PUSHER_HOST, PUSHER_PORT, PUSHER_EXCLUDED } = process.env;
const settings = { appId: PUSHER_APP_ID, key: PUSHER_KEY, secret: PUSHER_SECRET, host: PUSHER_HOST, port: PUSHER_PORT };
const pusher = new Pusher(settings);
const body = async (answer) => {
  const response = await answer;
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  return response.json();
};
const refused = (answer, status) =>
  assert.rejects(answer, (error) => {
    assert.equal(error.status, status, error.body);
    assert.equal(typeof JSON.parse(error.body).error, "string");
    return true;
  });
const room = "presence-room";

assert.deepEqual(await body(pusher.trigger(room, "said", { text: "hällo", n: [1, 2.5] })), {});
const informed = await body(pusher.trigger([room], "plain", "just text", { info: "user_count,subscription_count" }));
assert.deepEqual(informed, { channels: { [room]: { user_count: 2, subscription_count: 3 } } });
assert.deepEqual(await body(pusher.trigger(room, "others", { left: "out" }, { socket_id: PUSHER_EXCLUDED })), {});
const batch = await body(
  pusher.triggerBatch([
    { channel: room, name: "first", data: { batch: 1 }, info: "user_count" },
    { channel: room, name: "second", data: { batch: 2 } },
  ]),
);
assert.deepEqual(batch, { batch: [{ user_count: 2 }, {}] });
const many = Array.from({ length: 100 }, (_, at) => `many-${at}`);
assert.deepEqual(await body(pusher.trigger(many, "App\\Events\\Said", "x".repeat(10_240))), {});
await refused(pusher.trigger("many-0", "said", "x".repeat(10_241)), 413);
await refused(pusher.triggerBatch(Array(11).fill({ channel: "many-0", name: "said", data: 1 })), 400);

assert.deepEqual(await body(pusher.get({ path: "/channels" })), { channels: { [room]: {} } });
const params = { filter_by_prefix: "presence-", info: "user_count,subscription_count" };
assert.deepEqual(await body(pusher.get({ path: "/channels", params })), { channels: { [room]: { user_count: 2, subscription_count: 3 } } });
await refused(pusher.get({ path: "/channels", params: { info: "user_count" } }), 400);
const shown = await body(pusher.get({ path: `/channels/${room}`, params: { info: "user_count,subscription_count" } }));
assert.deepEqual(shown, { occupied: true, user_count: 2, subscription_count: 3 });
assert.deepEqual(await body(pusher.get({ path: "/channels/free" })), { occupied: false });
assert.deepEqual(await body(pusher.get({ path: `/channels/${room}/users` })), { users: [{ id: "ann" }, { id: "bob" }] });
await refused(pusher.get({ path: "/channels/free/users" }), 400);

const sealed = new Pusher({ ...settings, encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString("base64") });
assert.deepEqual(await body(sealed.trigger("private-encrypted-room", "said", { secret: true })), {});
assert.deepEqual(await body(pusher.sendToUser("ann", "said", { to: "you" })), {});
await refused(new Pusher({ ...settings, secret: "fs_another" }).trigger(room, "said", {}), 401);
await refused(new Pusher({ ...settings, appId: "1" }).trigger(room, "said", {}), 401);
assert.deepEqual(await body(pusher.terminateUserConnections("ann")), {});
console.log("node: everything is as it should be");
