import { underFaults } from "./under-faults.js";

underFaults("websocket");
