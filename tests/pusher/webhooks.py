"""Webhooks as an app's backend receives them, verified and read by the stock library for Python."""

import json
import os

import pusher

client = pusher.Pusher(app_id=os.environ["FANFARE_APP_ID"], key=os.environ["FANFARE_APP_KEY"], secret=os.environ["FANFARE_APP_SECRET"], host="127.0.0.1")
for request in json.loads(os.environ["FANFARE_WEBHOOKS"]):
    headers, body = request["headers"], request["rawBody"]
    webhook = client.validate_webhook(headers["x-pusher-key"], headers["x-pusher-signature"], body)
    assert webhook is not None, f"not valid: {body}"
    assert client.validate_webhook(headers["x-pusher-key"], headers["x-pusher-signature"], body + " ") is None
    for event in webhook["events"]:
        print(json.dumps(event))
