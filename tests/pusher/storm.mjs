// Many stock clients that outlive their nodes: says when all are connected, and at its end what became of each.
//
// Lines that come in: `publish N` is answered by `published N` once N events were triggered, `end` by one line of JSON for all clients.

import Pusher from "pusher-js";
import { createInterface } from "node:readline";

import * as backend from "./backend.mjs";

const COUNT = Number(process.env.FANFARE_CLIENTS);
const CHANNEL = "stock-storm";

const clients = [];
for (let number = 0; number < COUNT; number += 1) {
  const { host, port } = backend.nodes[0];
  const client = new Pusher(backend.key, {
    cluster: "",
    wsHost: host,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    disableStats: true,
  });
  const one = { client, connects: [], states: [], subscribed: 0, heard: [] };
  client.connection.bind("connected", () => one.connects.push(Date.now()));
  client.connection.bind("state_change", ({ current }) => one.states.push(current));
  const channel = client.subscribe(CHANNEL);
  channel.bind("pusher:subscription_succeeded", () => {
    one.subscribed += 1;
  });
  channel.bind("n", ({ n }) => one.heard.push(n));
  clients.push(one);
}

const look = setInterval(() => {
  if (clients.every((one) => one.subscribed > 0)) {
    clearInterval(look);
    console.log("ready");
  }
}, 50);

/** Settles once every client is subscribed, however long that takes. */
function everybody() {
  return new Promise((resolve) => {
    const wait = setInterval(() => {
      const is_there = ({ client }) => client.connection.state === "connected" && client.channel(CHANNEL).subscribed;
      if (!clients.every(is_there)) return;
      clearInterval(wait);
      resolve();
    }, 50);
  });
}

let published = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [word, count] = line.split(" ");
  if (word === "publish") {
    // These clients do not resume: what is triggered while one is away, it misses.
    await everybody();
    for (let n = 0; n < Number(count); n += 1) {
      await backend.trigger(CHANNEL, "n", { n: published });
      published += 1;
    }
    console.log(`published ${published}`);
  } else if (word === "end") {
    break;
  }
}
const last = published - 1;
const patience = Date.now() + 20_000;
while (Date.now() < patience && !clients.every((one) => one.heard.includes(last))) {
  await new Promise((resolve) => setTimeout(resolve, 50));
}
const report = JSON.stringify(
  clients.map(({ client, connects, states, subscribed, heard }) => ({
    state: client.connection.state,
    connects,
    failed: states.some((state) => state === "failed" || state === "disconnected"),
    subscribed,
    doubled: heard.length !== new Set(heard).size,
    ordered: heard.every((n, at) => at === 0 || n > heard[at - 1]),
    has_last: heard.includes(last),
  })),
);
process.stdout.write(`${report}\n`, () => process.exit(0));
