// What stock clients must find here, the same in Node and in a browser. Each check is a sentence that is printed once it holds.
//
// `env`: { Pusher, Echo, key, nodes: [{ host, port }], authorize(params), authenticate(params), trigger(channels, event, data, params?) }

const PATIENCE_MS = 20_000;

/** Settles as `promise` does, or fails with what was waited for. */
function soon(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${PATIENCE_MS} ms for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: ${left} is not ${right}`);
}

/** The next event of a name on a channel or connection. */
function next(emitter, event, fits = () => true) {
  return soon(
    event,
    new Promise((resolve) => {
      const heard = (data, metadata) => {
        if (!fits(data, metadata)) return;
        emitter.unbind(event, heard);
        resolve({ data, metadata });
      };
      emitter.bind(event, heard);
    }),
  );
}

/** Every event of a name from now on, to be taken one after the other. */
function all(emitter, event) {
  const heard = [];
  emitter.bind(event, (data, metadata) => heard.push({ data, metadata }));
  return heard;
}

class Clients {
  #made = [];

  constructor(env) {
    this.env = env;
  }

  /** A connected client at one of the nodes, which backends know as a user. */
  async connect(at = 0, { user, options = {} } = {}) {
    const client = this.make(at, { user, options });
    if (client.connection.state !== "connected") await next(client.connection, "connected");
    return client;
  }

  make(at = 0, { user, options = {} } = {}) {
    const { Pusher, key, nodes, authorize, authenticate } = this.env;
    const { host, port } = nodes[at % nodes.length];
    const client = new Pusher(key, {
      cluster: "",
      wsHost: host,
      wsPort: port,
      forceTLS: false,
      enabledTransports: ["ws"],
      disableStats: true,
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, callback) =>
          authorize({ socketId, channelName, user }).then(
            (auth) => callback(null, auth),
            (error) => callback(error, null),
          ),
      },
      userAuthentication: {
        customHandler: ({ socketId }, callback) =>
          authenticate({ socketId, user }).then(
            (auth) => callback(null, auth),
            (error) => callback(error, null),
          ),
      },
      ...options,
    });
    this.#made.push(client);
    return client;
  }

  end() {
    for (const client of this.#made) client.disconnect();
    this.#made = [];
  }
}

/** A channel that is subscribed. */
async function subscribed(client, name) {
  const channel = client.subscribe(name);
  const { data } = await next(channel, "pusher:subscription_succeeded");
  return { channel, data };
}

const checks = [
  [
    "a client connects and hears what is triggered on a public channel",
    async (clients, env) => {
      const client = await clients.connect();
      if (!/^\d+\.\d+$/.test(client.connection.socket_id)) throw new Error(client.connection.socket_id);
      const { channel } = await subscribed(client, "stock-news");
      for (const data of [{ text: "hi", n: 1.5 }, "plain", [1, "ü"], null, 7]) {
        const heard = next(channel, "App\\Events\\Said");
        await env.trigger("stock-news", "App\\Events\\Said", data);
        equal((await heard).data, data, "data");
      }
    },
  ],
  [
    "a client at every node hears everything in one order",
    async (clients, env) => {
      const listeners = await Promise.all(env.nodes.map((_, at) => clients.connect(at)));
      const heard = await Promise.all(
        listeners.map(async (client) => {
          const { channel } = await subscribed(client, "stock-order");
          return { channel, numbers: all(channel, "n") };
        }),
      );
      for (let number = 0; number < 50; number += 1) await env.trigger("stock-order", "n", { number });
      for (const { channel, numbers } of heard) {
        while (numbers.length < 50) await next(channel, "n");
        equal(numbers.map(({ data }) => data.number), [...Array(50).keys()], "order");
      }
    },
  ],
  [
    "private channels open to what the backend signs, and to nothing else",
    async (clients, env) => {
      const client = await clients.connect();
      const { channel } = await subscribed(client, "private-stock");
      const heard = next(channel, "said");
      await env.trigger("private-stock", "said", { private: true });
      equal((await heard).data, { private: true }, "data");
      const forged = await clients.connect(0, {
        options: {
          channelAuthorization: {
            customHandler: (_, callback) => callback(null, { auth: `${env.key}:${"0".repeat(64)}` }),
          },
        },
      });
      const refused = forged.subscribe("private-stock");
      const { data } = await next(refused, "pusher:subscription_error");
      equal([data.type, data.status], ["AuthError", 401], "refusal");
    },
  ],
  [
    "client events reach the others with who sent them",
    async (clients, env) => {
      const [ann, bob] = await Promise.all([
        clients.connect(0, { user: { id: "ann", info: { name: "Ann" } } }),
        clients.connect(1, { user: { id: "bob", info: { name: "Bob" } } }),
      ]);
      const [{ channel: of_ann }, { channel: of_bob }] = [
        await subscribed(ann, "presence-stock-events"),
        await subscribed(bob, "presence-stock-events"),
      ];
      const own = all(of_ann, "client-typing");
      const heard = next(of_bob, "client-typing");
      of_ann.trigger("client-typing", { now: true });
      const { data, metadata } = await heard;
      equal([data, metadata.user_id], [{ now: true }, "ann"], "event");
      equal(own, [], "the sender's own");
    },
  ],
  [
    "members are users, however many tabs they have",
    async (clients) => {
      const user = (id) => ({ user: { id, info: { name: id.toUpperCase() } } });
      const ann = await clients.connect(0, user("ann"));
      const { channel, data } = await subscribed(ann, "presence-stock-room");
      equal([data.count, data.me.id, data.me.info], [1, "ann", { name: "ANN" }], "alone");
      const added = all(channel, "pusher:member_added");
      const removed = all(channel, "pusher:member_removed");
      const tabs = [await clients.connect(0, user("bob")), await clients.connect(1, user("bob"))];
      const came = next(channel, "pusher:member_added");
      for (const tab of tabs) {
        const { data } = await subscribed(tab, "presence-stock-room");
        equal([data.count, data.get("ann").info], [2, { name: "ANN" }], "members");
      }
      equal((await came).data, { id: "bob", info: { name: "BOB" } }, "added");
      tabs[0].disconnect();
      const left = next(channel, "pusher:member_removed");
      tabs[1].disconnect();
      equal((await left).data.id, "bob", "removed");
      equal([added.length, removed.length, channel.members.count], [1, 1, 1], "once each");
    },
  ],
  [
    "cache channels give the last event first, or say that there is none",
    async (clients, env) => {
      const name = `cache-stock-${Date.now()}`;
      const first = await clients.connect(0);
      const empty = first.subscribe(name);
      await next(empty, "pusher:cache_miss");
      const heard = next(empty, "said");
      await env.trigger(name, "said", { last: 1 });
      await heard;
      const second = await clients.connect(1);
      const channel = second.subscribe(name);
      equal((await next(channel, "said")).data, { last: 1 }, "kept");
    },
  ],
  [
    "a user signs in, is sent to, and watched",
    async (clients, env) => {
      const bob = await clients.connect(0, { user: { id: "bob" } });
      bob.signin();
      await soon("sign-in", bob.user.signinDonePromise);
      const ann = await clients.connect(1, { user: { id: "ann", watchlist: ["bob", "cid"] } });
      const online = next(ann.user.watchlist, "online");
      const offline = next(ann.user.watchlist, "offline");
      ann.signin();
      equal([(await online).data.user_ids, (await offline).data.user_ids], [["bob"], ["cid"]], "watchlist");
      const gone = next(ann.user.watchlist, "offline");
      bob.disconnect();
      equal((await gone).data.user_ids, ["bob"], "gone");
      await soon("the user's own channel", until(() => ann.user.serverToUserChannel?.subscribed));
      const sent = next(ann.user, "notice");
      await env.trigger("#server-to-user-ann", "notice", { hello: "ann" });
      equal((await sent).data, { hello: "ann" }, "sent to the user");
    },
  ],
  [
    "encrypted channels carry what only clients can read",
    async (clients, env) => {
      const { channel } = await subscribed(await clients.connect(), "private-encrypted-stock");
      const heard = next(channel, "secret");
      await env.trigger("private-encrypted-stock", "secret", { number: 7 });
      equal((await heard).data, { number: 7 }, "decrypted");
    },
  ],
  [
    "subscribers are told how many they are",
    async (clients) => {
      const [one, two] = [await clients.connect(0), await clients.connect(1)];
      const { channel } = await subscribed(one, "stock-counted");
      const both = next(channel, "pusher:subscription_count", ({ subscription_count: count }) => count === 2);
      await subscribed(two, "stock-counted");
      await both;
      equal(channel.subscriptionCount, 2, "count");
    },
  ],
  [
    "events are not sent to the socket that is excluded",
    async (clients, env) => {
      const [one, two] = [await clients.connect(0), await clients.connect(1)];
      const [{ channel: of_one }, { channel: of_two }] = [
        await subscribed(one, "stock-others"),
        await subscribed(two, "stock-others"),
      ];
      const own = all(of_one, "said");
      const last = next(of_one, "last");
      const heard = next(of_two, "said");
      await env.trigger("stock-others", "said", { n: 1 }, { socket_id: one.connection.socket_id });
      await env.trigger("stock-others", "last", {});
      await heard;
      await last;
      equal(own, [], "excluded");
    },
  ],
  [
    "Echo listens, whispers, and knows who is here",
    async (clients, env) => {
      const echoes = [0, 1].map(
        (at) =>
          new env.Echo({ broadcaster: "pusher", client: clients.make(at, { user: { id: `echo${at}`, info: {} } }) }),
      );
      const heard = (listen) => soon("Echo", new Promise(listen));
      const joined = echoes[0].join("stock-echo");
      const here = await heard((resolve) => joined.here(resolve));
      equal(here.length, 1, "here");
      const joining = heard((resolve) => joined.joining(resolve));
      const other = echoes[1].join("stock-echo");
      await heard((resolve) => other.here(resolve));
      await joining;
      const whispered = heard((resolve) => other.listenForWhisper("typing", resolve));
      joined.whisper("typing", { name: "x" });
      equal(await whispered, { name: "x" }, "whisper");
      const channel = echoes[0].private("stock-echo");
      await heard((resolve) => channel.subscribed(resolve));
      const event = heard((resolve) => channel.listen("Shipped", resolve));
      await env.trigger("private-stock-echo", "App\\Events\\Shipped", { order: 7 });
      equal(await event, { order: 7 }, "event");
      const leaving = heard((resolve) => joined.leaving(resolve));
      echoes[1].disconnect();
      await leaving;
      if (!echoes[0].socketId()) throw new Error("Echo knows its socket");
    },
  ],
  [
    "a client of another app's key is refused and does not come back",
    async (clients, env) => {
      const client = new env.Pusher("unknown", {
        cluster: "",
        wsHost: env.nodes[0].host,
        wsPort: env.nodes[0].port,
        forceTLS: false,
        enabledTransports: ["ws"],
      });
      const { data } = await next(client.connection, "error");
      equal(data.data?.code ?? data.error?.data?.code, 4001, "code");
      await soon("the state", until(() => ["disconnected", "failed"].includes(client.connection.state)));
      client.disconnect();
    },
  ],
];

function until(holds) {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      if (!holds()) return;
      clearInterval(look);
      resolve();
    }, 20);
  });
}

/** Runs every check, one after the other; says each that holds, and throws at the first that does not. */
export async function run(env, say) {
  for (const [sentence, check] of checks) {
    const clients = new Clients(env);
    try {
      await check(clients, env);
    } catch (error) {
      throw new Error(`${sentence}: ${error?.message ?? JSON.stringify(error)}`);
    } finally {
      clients.end();
    }
    say(`holds: ${sentence}`);
  }
  say(`${checks.length} checks hold`);
}
