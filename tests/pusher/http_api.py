"""Pusher's server library for Python against a node of Fanfare: everything that it can ask over HTTP."""

import os

import pusher
import pusher.errors

settings = {
    "app_id": os.environ["PUSHER_APP_ID"],
    "key": os.environ["PUSHER_KEY"],
    "secret": os.environ["PUSHER_SECRET"],
    "host": os.environ["PUSHER_HOST"],
    "port": int(os.environ["PUSHER_PORT"]),
    "ssl": False,
}
client = pusher.Pusher(**settings)
ROOM = "presence-room"


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")


same(client.trigger(ROOM, "said", {"text": "hällo", "n": [1, 2.5]}), {})
same(client.trigger([ROOM], "plain", "just text"), {})
same(client.trigger(ROOM, "others", {"left": "out"}, os.environ["PUSHER_EXCLUDED"]), {})
batch = [{"channel": ROOM, "name": "first", "data": {"batch": 1}}, {"channel": ROOM, "name": "second", "data": {"batch": 2}}]
same(client.trigger_batch(batch), {})
same(client.trigger([f"many-{at}" for at in range(100)], "App\\Events\\Said", "x" * 10_000), {})
refused(pusher.errors.PusherBadRequest, lambda: client.trigger_batch([{"channel": "a", "name": "said", "data": "1"}] * 11))

same(client.channels_info(), {"channels": {ROOM: {}}})
told = {"user_count": 2, "subscription_count": 3}
same(client.channels_info("presence-", ["user_count", "subscription_count"]), {"channels": {ROOM: told}})
refused(pusher.errors.PusherBadRequest, lambda: client.channels_info(None, ["user_count"]))
same(client.channel_info(ROOM, ["user_count", "subscription_count"]), {"occupied": True, **told})
same(client.channel_info("free"), {"occupied": False})
same(client.users_info(ROOM), {"users": [{"id": "ann"}, {"id": "bob"}]})

same(client.send_to_user("ann", "said", {"to": "you"}), {})
refused(pusher.errors.PusherBadAuth, lambda: pusher.Pusher(**{**settings, "secret": "fs_another"}).channels_info())
same(client.terminate_user_connections("ann"), {})
print("python: everything is as it should be")
