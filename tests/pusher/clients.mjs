// The checks of stock clients in Node.

import Echo from "laravel-echo";
import Pusher from "pusher-js";

import * as backend from "./backend.mjs";
import { run } from "./checks.mjs";

const env = { ...backend, Pusher, Echo };
try {
  await run(env, console.log);
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
