import { NodeWebSocket } from "./transports/node-websocket.js";
import { provideWebSocket } from "./transports/websocket.js";

export * from "./index.js";

provideWebSocket(NodeWebSocket);
