import { describe, inject } from "vitest";
import { suite } from "./suite.js";

describe.each(["websocket", "sse", "poll"] as const)("over %s", (transport) => suite({ transport, url: () => inject("url") }));
