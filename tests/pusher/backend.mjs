// An app's backend, on the stock server library.

import Pusher from "pusher";

/** The nodes of `FANFARE_NODES`, `host:port` each; the API is at `FANFARE_API`. */
export const nodes = process.env.FANFARE_NODES.split(",").map((node) => {
  const [host, port] = node.split(":");
  return { host, port: Number(port) };
});
const [host, port] = process.env.FANFARE_API.split(":");

export const key = process.env.FANFARE_APP_KEY;

/** The library, with nothing changed but where the server is. `encryptionMasterKeyBase64` is for encrypted channels. */
export const library = new Pusher({
  appId: process.env.FANFARE_APP_ID,
  key,
  secret: process.env.FANFARE_APP_SECRET,
  host,
  port,
  useTLS: false,
  encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString("base64"),
});

export async function authorize({ socketId, channelName, user }) {
  const member = user && { user_id: user.id, user_info: user.info };
  return library.authorizeChannel(socketId, channelName, channelName.startsWith("presence-") ? member : undefined);
}

export async function authenticate({ socketId, user }) {
  return library.authenticateUser(socketId, { id: user.id, user_info: user.info, watchlist: user.watchlist });
}

export async function trigger(channels, event, data, params) {
  const user = /^#server-to-user-(.+)$/.exec(channels);
  const answer = user
    ? await library.sendToUser(user[1], event, data)
    : await library.trigger(channels, event, data, params);
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
}
