import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    globalSetup: "tests/server/setup.ts",
    // What a test waits for it is told of; this ends one that is told nothing.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: 0,
    // One server is shared, and the machines that test this have two cores.
    maxWorkers: 2,
    minWorkers: 1,
  },
});
