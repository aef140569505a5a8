import { decode, encode } from "../codec.js";
import type { Dial } from "./transport.js";

/** What of a WebSocket is used; the browser's own has it. */
export type Socket = {
  send(text: string): void;
  close(code?: number): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown } & never) => void) | null;
  onclose: ((event: { code: number } & never) => void) | null;
  onerror: ((event: never) => void) | null;
};
export type SocketClass = new (url: string, protocols: string) => Socket;

const provided: { socket?: SocketClass } = {};

/** Gives runtimes a WebSocket that have none of their own. */
export function provideWebSocket(socket: SocketClass): void {
  provided.socket = socket;
}

/** Both ways over one socket. */
export const websocket =
  (given?: SocketClass): Dial =>
  (url, hear) => {
    const Class = given ?? (globalThis.WebSocket as unknown as SocketClass | undefined) ?? provided.socket;
    if (!Class) {
      queueMicrotask(() => hear.closed(1006));
      return { send: () => undefined, close: () => undefined };
    }
    const socket = new Class(`${url.replace(/^http/, "ws")}/v1/connect`, "fanfare.v1");
    let isOver = false;
    const end = (code: number): void => {
      if (isOver) return;
      isOver = true;
      hear.closed(code);
    };
    socket.onopen = () => void (isOver || hear.opened());
    socket.onmessage = ({ data }: { data: unknown }) => {
      const frame = isOver ? undefined : decode(String(data));
      if (!frame) return;
      hear.works();
      hear.frame(frame);
    };
    socket.onclose = ({ code }: { code: number }) => end(code);
    socket.onerror = () => undefined;
    return {
      send: (frame) => isOver || socket.send(encode(frame)),
      close: () => {
        isOver = true;
        try {
          socket.close(1000);
        } catch {
          // A socket that never opened is none that has to be closed.
        }
      },
    };
  };
