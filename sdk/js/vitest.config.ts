import { defineConfig } from "vitest/config";

/** What a test waits for it is told of; this ends one that is told nothing. */
const waits = { testTimeout: 60_000, hookTimeout: 60_000, retry: 0 };

export default defineConfig({
  test: {
    // Most of the time they wait, so there may be more of them than the two cores that test machines have.
    maxWorkers: 4,
    minWorkers: 1,
    projects: [
      { test: { ...waits, name: "unit", include: ["tests/unit/**/*.test.{ts,tsx}"] } },
      {
        test: {
          ...waits,
          name: "server",
          include: ["tests/{integration,browser,examples}/**/*.test.{ts,tsx}"],
          globalSetup: "tests/server/setup.ts",
        },
      },
    ],
  },
});
