//! What can happen to a connection.

use std::{sync::Arc, time::Duration};

use fanfare_protocol::ChannelName;

use super::{Located, PresenceDone};
use crate::{Refusal, directory::AppProfile, grants::Grant, history::HistoryPage, publishing::Receipt};

/// What happened.
#[derive(Debug)]
pub enum Command {
    /// A whole text message arrived.
    Text(String),
    /// A text message arrived while the connection's rate was used up.
    TooFast {
        /// The message.
        text: String,
        /// When the next one would be admitted.
        retry_after: Duration,
    },
    /// A text message arrived while the node cannot tell what was revoked.
    Unavailable {
        /// The message.
        text: String,
    },
    /// A binary message arrived.
    Binary,
    /// A control frame arrived, which counts as life.
    Heard,
    /// The credentials of `connect` were looked at.
    Authenticated(Result<Grant, Refusal>),
    /// A fresh token was looked at.
    Refreshed {
        /// The request.
        id: u32,
        /// Which of the connection's fresh tokens it was, as [`super::Effect::Refresh`] said.
        turn: u32,
        /// What it grants.
        outcome: Result<Grant, Refusal>,
    },
    /// The place where a subscription is to start was looked up.
    Located {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// Where it starts.
        outcome: Result<Located, Refusal>,
    },
    /// A publish was answered.
    Published {
        /// The request.
        id: u32,
        /// Whether the answer is to carry the place.
        with_place: bool,
        /// What came of it.
        outcome: Result<Receipt, Refusal>,
    },
    /// A wish about presence was granted or not.
    PresenceDone {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// Whether the wish was to enter.
        was_to_enter: bool,
        /// What came of it.
        outcome: Result<PresenceDone, Refusal>,
    },
    /// A page of history was read.
    HistoryRead {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// The page.
        outcome: Result<HistoryPage, Refusal>,
    },
    /// The app was changed; what it no longer allows ends.
    AppChanged(Result<Arc<AppProfile>, Refusal>),
    /// A channel's history was replaced: positions in it are void.
    EpochChanged(ChannelName),
    /// The server ends the connection, for a reason that stands outside of it.
    End(Refusal),
    /// The node is shutting down: say so, serve for that long, then close. What has not connected is closed at once. A later one may shorten
    /// the time, and never lengthens it.
    Drain {
        /// How long the connection is still served.
        after: Duration,
    },
    /// The token ends that soon, whatever it says itself; one that ends at once is one that ended a while ago. For tests of clients.
    Expire {
        /// How soon.
        after: Duration,
    },
    /// A deadline passed.
    Tick,
}
