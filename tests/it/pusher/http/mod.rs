//! The Pusher HTTP API: by signed requests, at every bound, and by the stock server libraries.

mod attributes;
mod batches;
mod channels;
mod events;
mod libraries;
mod mixed;
mod signatures;
mod users;

use crate::harness::{
    pusher::Backend,
    server::Server,
    tenants::{Tenant, start},
};

/// A server with an app that speaks Pusher.
async fn start_pusher() -> (Server, Backend) {
    let (server, tenant) = start().await;
    (server, Backend::of(tenant).await)
}

/// Another app's backend on the same server.
async fn another(server: &Server) -> Backend {
    Backend::of(Tenant::sign_up(server).await).await
}
