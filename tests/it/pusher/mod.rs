//! Pusher's protocol, by raw sockets and by stock clients.

mod clients;
mod sockets;
