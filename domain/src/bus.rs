//! The bus: from workers to every gateway that has subscribers.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    ids::{AppId, KeyId},
    messages::Envelope,
};

/// What crosses the bus.
#[derive(Debug, Clone)]
pub enum Broadcast {
    /// A message for the subscribers of its channel.
    Message(Arc<Envelope>),
    /// The app was changed: read it afresh, and end what it no longer allows.
    AppChanged(AppId),
    /// The key was revoked: close what came in by it.
    KeyRevoked(KeyId),
    /// A sign of life, by which a node knows that messages would arrive; carries its sender's own number.
    Beat(u64),
}

/// The bus could not take what it was given.
#[derive(Debug, thiserror::Error)]
#[error("the bus is not available: {0}")]
pub struct BusError(pub String);

/// Fan-out between workers and gateways. In order per channel; a listener that cannot keep up delays the sender and loses nothing.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Hands broadcasts to every listener, in the order given.
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<(), BusError>;
    /// A new listener, which receives everything sent from now on.
    async fn listen(&self) -> Result<mpsc::Receiver<Broadcast>, BusError>;
}
