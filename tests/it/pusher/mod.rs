//! Pusher's protocol, by raw sockets, signed requests and stock clients.

mod clients;
mod http;
mod sockets;
mod webhooks;
