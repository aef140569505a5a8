//! Connections: the state machine of one client's socket, free of clocks, sockets and waiting.
