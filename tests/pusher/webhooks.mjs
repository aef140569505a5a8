// Webhooks as an app's backend receives them, verified and read by the stock library. `FANFARE_WEBHOOKS` holds them: [{ headers, rawBody }].

import { library } from "./backend.mjs";

for (const request of JSON.parse(process.env.FANFARE_WEBHOOKS)) {
  const webhook = library.webhook(request);
  if (!webhook.isValid()) throw new Error(`not valid: ${request.rawBody}`);
  const forged = library.webhook({ ...request, rawBody: `${request.rawBody} ` });
  if (forged.isValid()) throw new Error("a body that was changed is valid");
  if (Math.abs(webhook.getTime().getTime() - Date.now()) > 300_000) throw new Error("sent long ago");
  for (const event of webhook.getEvents()) console.log(JSON.stringify(event));
}
