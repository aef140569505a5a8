import { expectTypeOf, test } from "vitest";
import { type EventsOf, Fanfare, type Message } from "../../src/index.js";

type Order = { id: number };
type Map = { "orders:*": { created: Order; gone: null }; lobby: { said: string } };

test("a map of payloads types what is published and what comes", () => {
  const client = new Fanfare<Map>({ url: "http://x", token: "t" });
  const orders = client.channel("orders:7");
  expectTypeOf(orders.publish<"created">)
    .parameter(1)
    .toEqualTypeOf<Order>();
  expectTypeOf<Message<EventsOf<Map, "orders:7">>["data"]>().toEqualTypeOf<Order | null>();
  expectTypeOf<Extract<Message<EventsOf<Map, `orders:${number}`>>, { name: "created" }>["data"]>().toEqualTypeOf<Order>();
  expectTypeOf<Message<EventsOf<Map, "lobby">>["data"]>().toEqualTypeOf<string>();
  expectTypeOf<Message<EventsOf<Map, "elsewhere">>["data"]>().toBeUnknown();
  // @ts-expect-error such an event is not sent there
  void (() => orders.publish("said", "x"));
  // @ts-expect-error an order has an id
  void (() => orders.publish("created", {}));
});
