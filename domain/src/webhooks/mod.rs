//! Webhooks: what happens in an app's channels, told to addresses of its tenant's.
//!
//! Who sees something happen *notes* it. A note of who is there is only a hint: whoever sends webhooks compares what is with what was told last, so
//! that nothing is told twice, and that what nobody could note, since its node was killed, is told all the same.
//! What is to be told waits in a durable [`Backlog`] until its address has taken it, or its time is over.

use std::sync::Arc;

use fanfare_protocol::{ChannelName, ClientName};

use crate::directory::AppProfile;

mod backlogs;
mod events;
mod formats;
mod hooks;
mod lanes;
mod notebook;
mod telling;
mod told;

pub use backlogs::{Backlog, BacklogAway, Poster, Receipt, Taken};
pub use events::{EventKind, Telling, Tidings, Unreadable};
pub use formats::{Request, WebhookFormat};
pub use hooks::{MAX_WEBHOOKS, Webhook, WebhookPatch, Webhooks};
pub use lanes::{Lane, Patience, Step, WINDOW};
pub use notebook::{Notebook, Noted, read_notes};
pub use telling::{Effect, HOLD, Holder, Input, Known, Seen, Wishes};
pub use told::{Change, Changed, Told, ToldPlace, has_members};

/// Something that was seen to happen in a channel of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Subscriptions began or ended; how many there are now is to be counted.
    Occupancy(ChannelName),
    /// Members came or went; who is there now is to be read.
    Members(ChannelName),
    /// A client sent an event.
    ClientEvent {
        /// The channel.
        channel: ChannelName,
        /// The event's name.
        event: String,
        /// Its data, as the client wrote it.
        data: String,
        /// The sender's socket id.
        socket_id: String,
        /// The member that sent it, on a channel with members.
        user_id: Option<ClientName>,
    },
    /// Somebody subscribed to a cache channel of which nothing is kept.
    CacheMiss(ChannelName),
}

/// Takes notes. It never waits: a note that nobody wants costs a look at the app's profile, and of too many notes those are let go that are only hints.
pub trait Notes: Send + Sync {
    /// Takes a note, if some webhook of the app wants it.
    fn note(&self, app: &Arc<AppProfile>, note: Note);
}

/// Takes no notes: for tests, and where nothing sends webhooks.
#[derive(Debug, Default)]
pub struct NoNotes;

impl Notes for NoNotes {
    fn note(&self, _: &Arc<AppProfile>, _: Note) {}
}
