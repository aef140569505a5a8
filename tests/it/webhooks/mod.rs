//! Webhooks: what happens in an app's channels arrives at its addresses, signed, in order, once, and again where it was not taken.

mod adding;
mod pusher;
mod retrying;
mod telling;

use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::Socket,
    tenants::Tenant,
};

/// A server that calls this machine too, with a tenant on it.
async fn start_private() -> (Server, Tenant) {
    let server = Server::start(Options::default().env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

/// What is told of a channel's being occupied, and so on.
fn of_channel(name: &str, channel: &str) -> Value {
    json!({"name": name, "channel": channel})
}

/// Takes a socket's client into a channel, or out.
async fn presence(socket: &mut Socket, channel: &str, action: &str) {
    socket.ask(json!({"op": "presence", "channel": channel, "action": action})).await;
}

async fn unsubscribe(socket: &mut Socket, channel: &str) {
    socket.ask(json!({"op": "unsubscribe", "channel": channel})).await;
}
