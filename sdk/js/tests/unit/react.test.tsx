// @vitest-environment jsdom
import { act, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Fanfare, type Message } from "../../src/index.js";
import { FanfareProvider, useChannel, useConnection, usePresence } from "../../src/react.js";
import { FakeServer } from "./fake-server.js";

let server: FakeServer;
let client: Fanfare;
let root: Root;
let page: HTMLElement;

beforeEach(() => {
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
  server = new FakeServer();
  client = new Fanfare({ url: "http://fake", token: "t", transports: ["websocket"], WebSocket: server.Socket });
  page = document.createElement("div");
  root = createRoot(page);
});

afterEach(() => {
  act(() => root.unmount());
  client.close();
});

function Chat({ channel = "chat", onMessage }: { channel?: string; onMessage?: (message: Message) => void }) {
  const { messages, state } = useChannel(channel, { ...(onMessage && { onMessage }) });
  const connection = useConnection();
  return (
    <p>
      {connection.state} {state.state} {messages.map(({ data }) => String(data)).join(",")}
    </p>
  );
}

function Crowd({ enter }: { enter?: string }) {
  const members = usePresence("chat", enter === undefined ? {} : { enter });
  return <p>{[...members.values()].map(({ client, data }) => `${client}:${String(data)}`).join(" ")}</p>;
}

const show = (what: React.ReactNode): Promise<void> =>
  act(async () =>
    root.render(
      <StrictMode>
        <FanfareProvider client={client}>{what}</FanfareProvider>
      </StrictMode>,
    ),
  );

test("a component follows its channel, once also under StrictMode", async () => {
  const heard: unknown[] = [];
  await show(<Chat onMessage={({ data }) => heard.push(data)} />);
  await act(() => server.settled());
  expect(page.textContent).toBe("connected complete ");
  await act(async () => server.publish("chat", "hi", "you"));
  expect(page.textContent).toBe("connected complete hi,you");
  expect(heard).toEqual(["hi", "you"]);
  expect(server.followed).toEqual(["chat"]);
});

test("another name is another channel, and leaving ends it", async () => {
  await show(<Chat />);
  await act(() => server.settled());
  await show(<Chat channel="other" />);
  await act(() => server.settled());
  expect(server.followed).toEqual(["other"]);
  await act(async () => server.publish("other", 1));
  expect(page.textContent).toBe("connected complete 1");
  await show(null);
  await act(() => server.settled());
  expect(server.followed).toEqual([]);
});

test("a component is in while it is there, and says what it says last", async () => {
  await show(<Crowd enter="hello" />);
  await act(() => server.settled());
  expect(page.textContent).toBe("me:hello");
  await show(<Crowd enter="bye" />);
  await act(() => server.settled());
  expect(page.textContent).toBe("me:bye");
  await show(<Crowd />);
  await act(() => server.settled());
  expect(page.textContent).toBe("");
  expect(server.actions).not.toContain("leave enter");
});

test("on a server nothing connects, and what is rendered is what a browser begins with", () => {
  const text = renderToString(
    <FanfareProvider client={client}>
      <Chat />
      <Crowd enter="hello" />
    </FanfareProvider>,
  );
  expect(text.replaceAll("<!-- -->", "")).toBe("<p>disconnected pending </p><p></p>");
  expect(server.sockets).toBe(0);
});

test("hooks without a provider say what is missing", () => {
  expect(() => renderToString(<Chat />)).toThrow("FanfareProvider");
});
