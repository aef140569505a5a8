import { Fanfare } from "@fanfare/client";

const url = process.env.FANFARE_URL ?? "http://127.0.0.1:8080";

// This part is your backend's: a token for one user, with just the rights that are needed.
async function getToken() {
  const answer = await fetch(`${url}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${process.env.FANFARE_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ client: "ann", cap: { "chat:*": ["subscribe", "publish", "history", "presence"] }, ttl_s: 3600 }),
  });
  return (await answer.json()).token;
}

// And this part is the page's.
const client = new Fanfare({ url, getToken });
const chat = client.channel("chat:1");
const heard = new Promise((resolve) => chat.subscribe((message) => resolve(message)));
await chat.publish("said", { text: "hi" });
const { name, data, serial } = await heard;
console.log(`${name}: ${data.text} (serial ${serial})`);
client.close();
