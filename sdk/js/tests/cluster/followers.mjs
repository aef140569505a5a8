// Followers over every transport, and a publisher, behind a balancer that hands connections to the gateways in turn. Each line of
// standard input says how many more messages to publish; when every follower has them, the total is printed. A hole, a double or a
// loss ends the process.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { Fanfare } from "../../dist/index.node.js";

const gateways = process.argv.slice(2).map((url) => Number(new URL(url).port));
let turn = 0;
const balancer = createServer((client) => {
  const attempt = (left) => {
    turn += 1;
    const gateway = connect(gateways[turn % gateways.length], "127.0.0.1");
    gateway.on("connect", () => client.pipe(gateway).pipe(client));
    gateway.on("error", () => (gateway.connecting === false && gateway.bytesRead === 0 && left > 0 ? attempt(left - 1) : client.destroy()));
    gateway.on("close", () => gateway.bytesRead > 0 && client.destroy());
    client.on("error", () => gateway.destroy());
    client.on("close", () => gateway.destroy());
  };
  attempt(gateways.length);
});
balancer.listen(0, "127.0.0.1");
await once(balancer, "listening");
const url = `http://127.0.0.1:${balancer.address().port}`;

const CHANNEL = "followers";
const token = process.env.TOKEN;
const followers = ["websocket", "sse", "poll"].map((transport) => {
  const channel = new Fanfare({ url, getToken: () => token, transports: [transport] }).channel(CHANNEL);
  const follower = { transport, has: 0, told: () => undefined };
  channel.state.observe((state) => state.state === "lost" && fail(`${transport} lost ${JSON.stringify(state)}`));
  follower.subscription = channel.subscribe(({ serial, data }) => {
    if (serial !== follower.has + 1 || data !== serial) fail(`${transport} got ${serial} (${data}) after ${follower.has}`);
    follower.has = serial;
    follower.told();
  });
  return follower;
});
await Promise.all(followers.map(({ subscription }) => subscription.ready()));

const publisher = new Fanfare({ url, getToken: () => token, transports: ["websocket"] }).channel(CHANNEL);
let total = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const goal = total + Number(line);
  const all = followers.map(
    (follower) => new Promise((resolve) => ((follower.told = () => follower.has >= goal && resolve()), follower.told())),
  );
  const published = [];
  while (total < goal) published.push(publisher.publish("n", (total += 1)));
  await Promise.all([...published, ...all]);
  console.log(total);
}
process.exit(0);

function fail(why) {
  console.error(why);
  process.exit(1);
}
