import { createHash, randomBytes } from "node:crypto";
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import type { Socket as TcpSocket } from "node:net";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const [CONTINUATION, TEXT, CLOSE, PING, PONG] = [0x0, 0x1, 0x8, 0x9, 0xa];
const LOST = 1006;
/** How long the server may take to answer a close. */
const CLOSE_WITHIN_MS = 2000;

/** A WebSocket for versions of Node.js that have none (RFC 6455, text only, without extensions). */
export class NodeWebSocket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown } & never) => void) | null = null;
  onclose: ((event: { code: number } & never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  #socket: TcpSocket | undefined;
  #request;
  #read: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #code = LOST;
  #isOver = false;

  constructor(address: string, protocol: string) {
    const url = new URL(address.replace(/^ws/, "http"));
    const key = randomBytes(16).toString("base64");
    const headers = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": key,
      "sec-websocket-protocol": protocol,
    };
    this.#request = (url.protocol === "https:" ? secureRequest : plainRequest)(url, { headers });
    this.#request.on("upgrade", (answer, socket: TcpSocket, head: Buffer) => {
      const accept = createHash("sha1")
        .update(key + GUID)
        .digest("base64");
      if (answer.headers["sec-websocket-accept"] !== accept || this.#isOver) return void socket.destroy();
      this.#socket = socket;
      socket.setNoDelay(true);
      socket.on("data", (bytes: Buffer) => this.#take(bytes));
      socket.on("error", () => undefined);
      socket.on("close", () => this.#end());
      this.onopen?.(undefined as never);
      this.#take(head);
    });
    this.#request.on("response", (answer) => {
      answer.resume();
      this.#end();
    });
    this.#request.on("error", () => this.#end());
    this.#request.end();
  }

  send(text: string): void {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code = 1000): void {
    const reason = Buffer.alloc(2);
    reason.writeUInt16BE(code);
    if (!this.#socket) return void this.#request.destroy();
    this.#write(CLOSE, reason);
    this.#socket.end();
    setTimeout(() => this.#socket?.destroy(), CLOSE_WITHIN_MS).unref();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onclose?.({ code: this.#code } as never);
  }

  #write(opcode: number, payload: Buffer): void {
    if (!this.#socket?.writable) return;
    const length = payload.length;
    const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const head = Buffer.alloc(2 + extended);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
    if (extended === 2) head.writeUInt16BE(length, 2);
    if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2);
    const mask = randomBytes(4);
    const masked = Buffer.from(payload);
    for (let at = 0; at < length; at += 1) masked[at] = (masked[at] ?? 0) ^ (mask[at & 3] ?? 0);
    this.#socket.write(Buffer.concat([head, mask, masked]));
  }

  #take(bytes: Buffer): void {
    this.#read = this.#read.length === 0 ? bytes : Buffer.concat([this.#read, bytes]);
    for (let frame = this.#next(); frame; frame = this.#next()) this.#frame(frame);
  }

  /** The next frame, once all of it is there. */
  #next(): { isLast: boolean; opcode: number; payload: Buffer } | undefined {
    const read = this.#read;
    if (read.length < 2) return undefined;
    const [first = 0, second = 0] = read;
    const extended = second === 126 ? 2 : second === 127 ? 8 : 0;
    const start = 2 + extended;
    if (read.length < start) return undefined;
    const length = extended === 0 ? second : extended === 2 ? read.readUInt16BE(2) : Number(read.readBigUInt64BE(2));
    if (read.length < start + length) return undefined;
    this.#read = read.subarray(start + length);
    return { isLast: (first & 0x80) !== 0, opcode: first & 0x0f, payload: read.subarray(start, start + length) };
  }

  #frame({ isLast, opcode, payload }: { isLast: boolean; opcode: number; payload: Buffer }): void {
    if (opcode === PING) return this.#write(PONG, payload);
    if (opcode === CLOSE) {
      if (payload.length >= 2) this.#code = payload.readUInt16BE(0);
      this.#write(CLOSE, payload.subarray(0, 2));
      this.#socket?.end();
      return this.#end();
    }
    if (opcode !== TEXT && opcode !== CONTINUATION) return;
    this.#parts.push(payload);
    if (!isLast) return;
    const text = Buffer.concat(this.#parts).toString();
    this.#parts = [];
    if (!this.#isOver) this.onmessage?.({ data: text } as never);
  }
}
