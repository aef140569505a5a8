//! The bus: from workers to every gateway that has subscribers.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use fanfare_protocol::ChannelName;
use tokio::sync::mpsc;

use crate::{
    history::Head,
    ids::{AppId, KeyId},
    messages::Envelope,
    presence::PresenceEvent,
    revocations,
};

/// What crosses the bus.
#[derive(Debug, Clone)]
pub enum Broadcast {
    /// A message for the subscribers of its channel.
    Message(Arc<Envelope>),
    /// Something about a member, for those who watch its channel.
    Presence(Arc<PresenceEvent>),
    /// The app was changed: read it afresh, and end what it no longer allows.
    AppChanged(AppId),
    /// The key was revoked: close what came in by it. Said beside the revocation's number, for nodes of the release before.
    KeyRevoked(KeyId),
    /// The latest number of a revocation, said twice a second by every worker, and at once by whoever made it.
    Revision(revocations::Beat),
    /// A worker's sign of life, by which a node knows that messages would arrive; carries its sender's own number. Sent to every shard.
    Beat(u64),
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// What was sent.
    Sent(Broadcast),
    /// The head of a followed channel has moved, perhaps without its message having been heard.
    Head {
        /// The app.
        app: AppId,
        /// The channel.
        channel: ChannelName,
        /// Where it stands at least.
        head: Head,
    },
    /// What was sent lately may have been lost. Every followed channel must be compared with the log.
    Interrupted,
}

/// The bus could not take what it was given.
#[derive(Debug, thiserror::Error)]
#[error("the bus is not available: {0}")]
pub struct BusError(pub String);

/// A channel whose head on the bus is ahead of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The head on the bus, of the same epoch.
    pub head: Head,
}

/// A listener: what it hears, and what it wants to hear.
pub struct Listener {
    /// What was sent from now on, in order per channel: control messages and beats always, messages of the channels that are followed.
    pub heard: mpsc::Receiver<Heard>,
    /// The channels whose messages are wanted.
    pub following: Arc<dyn Following>,
}

/// The channels that one listener wants to hear.
#[async_trait]
pub trait Following: Send + Sync {
    /// Asks for the messages of a channel, and returns when none sent from now on would be missed. While the bus is away it returns
    /// at once: [`Heard::Interrupted`] follows when it is back.
    async fn follow(&self, app: &AppId, channel: &ChannelName);
    /// Wants them no longer; some may still be heard.
    fn unfollow(&self, app: &AppId, channel: &ChannelName);
}

/// Fan-out between workers and gateways. In order per channel. It may lose messages only where it then says [`Heard::Interrupted`] or
/// [`Heard::Head`]; a listener that cannot keep up delays or is interrupted, and never fills the memory.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Hands broadcasts to every listener that wants them, in the order given, and moves the heads forward. Returns the channels whose
    /// heads were ahead already.
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<Vec<Ahead>, BusError>;
    /// A new listener. Dropping what it hears ends it.
    async fn listen(&self) -> Result<Listener, BusError>;
    /// When the last beat was heard, on the shard where that is longest ago; `None` if one has not been heard at all. A process that never
    /// listened hears none.
    fn last_beat(&self) -> Option<Instant>;
}
