import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const BINARY = process.env["FANFARE_BIN"] ?? new URL("../../../../target/debug/fanfare", import.meta.url).pathname;

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A real `fanfare serve` with a folder of its own. It ends by its process id. */
export class FanfareServer {
  private constructor(
    readonly url: string,
    readonly ops: string,
    readonly folder: string,
    readonly process: ChildProcess,
  ) {}

  static async start({
    folder,
    port,
    environment = {},
  }: { folder?: string; port?: number; environment?: Record<string, string> } = {}): Promise<FanfareServer> {
    const home = folder ?? (await mkdtemp(join(tmpdir(), "fanfare-sdk-")));
    const [listen, ops] = [`127.0.0.1:${port ?? (await freePort())}`, `127.0.0.1:${await freePort()}`];
    const process_ = spawn(BINARY, ["serve", "--faults"], {
      cwd: home,
      env: {
        PATH: process.env["PATH"],
        FANFARE_LISTEN: listen,
        FANFARE_OPS_LISTEN: ops,
        FANFARE_DATA_DIR: join(home, "data"),
        FANFARE_PLAN_DEFAULT: "unlimited",
        FANFARE_DRAIN_WINDOW: "200ms",
        FANFARE_WORKERS: "2",
        FANFARE_LOG: "warn",
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    process_.stderr?.on("data", (text: Buffer) => (said = (said + text.toString()).slice(-10_000)));
    const ended = once(process_, "exit").then(() => {
      throw new Error(`fanfare ended before it was ready:\n${said}`);
    });
    const ready = new Promise<void>((resolve) => {
      if (process_.stdout) createInterface(process_.stdout).on("line", (line) => line.startsWith("Fanfare is ready") && resolve());
    });
    await Promise.race([ready, ended]);
    ended.catch(() => undefined);
    return new FanfareServer(`http://${listen}`, `http://${ops}`, home, process_);
  }

  /** Asks the server to end, and waits until it has. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGINT"): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, "exit");
    this.process.kill(signal);
    await exit;
  }

  async remove(): Promise<void> {
    await this.stop("SIGKILL");
    await rm(this.folder, { recursive: true });
  }
}
