import type { TestProject } from "vitest/node";
import { FanfareServer } from "./fanfare.js";

declare module "vitest" {
  interface ProvidedContext {
    url: string;
    ops: string;
  }
}

/** One server for all tests that harm none: each has an app of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await FanfareServer.start();
  project.provide("url", server.url);
  project.provide("ops", server.ops);
  return () => server.remove();
}
