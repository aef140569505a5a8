//! What webhooks are told: kinds of events, one event, and one event on its way to one webhook.

use fanfare_protocol::{ChannelName, ClientName};
use serde::{Deserialize, Serialize};

use crate::ids::{AppId, TellingId, WebhookId};

/// The version of what is written to a backlog.
const VERSION: u32 = 1;

/// What a webhook may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A channel has subscribers, and had none.
    ChannelOccupied,
    /// A channel has no subscribers any more.
    ChannelVacated,
    /// A presence channel has another member.
    MemberAdded,
    /// A member of a presence channel is gone.
    MemberRemoved,
    /// A client sent an event.
    ClientEvent,
    /// Somebody subscribed to a cache channel of which nothing is kept.
    CacheMiss,
    /// A channel has more or fewer subscribers than before.
    SubscriptionCount,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 7] = [
        EventKind::ChannelOccupied,
        EventKind::ChannelVacated,
        EventKind::MemberAdded,
        EventKind::MemberRemoved,
        EventKind::ClientEvent,
        EventKind::CacheMiss,
        EventKind::SubscriptionCount,
    ];

    /// What it is called in the API and in requests.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::ChannelOccupied => "channel_occupied",
            EventKind::ChannelVacated => "channel_vacated",
            EventKind::MemberAdded => "member_added",
            EventKind::MemberRemoved => "member_removed",
            EventKind::ClientEvent => "client_event",
            EventKind::CacheMiss => "cache_miss",
            EventKind::SubscriptionCount => "subscription_count",
        }
    }

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that happened, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Tidings {
    /// A channel has subscribers, and had none.
    ChannelOccupied {
        /// The channel.
        channel: ChannelName,
    },
    /// A channel has no subscribers any more.
    ChannelVacated {
        /// The channel.
        channel: ChannelName,
    },
    /// A presence channel has another member.
    MemberAdded {
        /// The channel.
        channel: ChannelName,
        /// The member.
        user_id: ClientName,
    },
    /// A member of a presence channel is gone.
    MemberRemoved {
        /// The channel.
        channel: ChannelName,
        /// The member.
        user_id: ClientName,
    },
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<ClientName>,
    },
    /// Somebody subscribed to a cache channel of which nothing is kept.
    CacheMiss {
        /// The channel.
        channel: ChannelName,
    },
    /// A channel has more or fewer subscribers than before.
    SubscriptionCount {
        /// The channel.
        channel: ChannelName,
        /// How many it has.
        subscription_count: u64,
    },
}

impl Tidings {
    /// Its kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Tidings::ChannelOccupied { .. } => EventKind::ChannelOccupied,
            Tidings::ChannelVacated { .. } => EventKind::ChannelVacated,
            Tidings::MemberAdded { .. } => EventKind::MemberAdded,
            Tidings::MemberRemoved { .. } => EventKind::MemberRemoved,
            Tidings::ClientEvent { .. } => EventKind::ClientEvent,
            Tidings::CacheMiss { .. } => EventKind::CacheMiss,
            Tidings::SubscriptionCount { .. } => EventKind::SubscriptionCount,
        }
    }

    /// The channel in which it happened.
    pub fn channel(&self) -> &ChannelName {
        match self {
            Tidings::ChannelOccupied { channel }
            | Tidings::ChannelVacated { channel }
            | Tidings::MemberAdded { channel, .. }
            | Tidings::MemberRemoved { channel, .. }
            | Tidings::ClientEvent { channel, .. }
            | Tidings::CacheMiss { channel }
            | Tidings::SubscriptionCount { channel, .. } => channel,
        }
    }
}

/// What stands in a backlog is not of a version that is known here, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A later version wrote it.
    #[error("a later version wrote it: {0}")]
    Later(u32),
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    v: u32,
    /// Its id, by which it is known when the backlog hands it out again.
    pub id: TellingId,
    /// The app.
    pub app: AppId,
    /// The webhook.
    pub hook: WebhookId,
    /// What happened.
    pub event: Tidings,
}

impl Telling {
    /// That a webhook is to be told of an event.
    pub fn new(app: AppId, hook: WebhookId, event: Tidings) -> Self {
        Self { v: VERSION, id: TellingId::generate(), app, hook, event }
    }

    /// As it is written to a backlog.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a telling is plain JSON")
    }

    /// Reads it back.
    ///
    /// # Errors
    /// A later version wrote it, or it is damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        check_version(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| Unreadable::Damaged(error.to_string()))
    }
}

/// Refuses what a later version wrote.
pub(super) fn check_version(bytes: &[u8]) -> Result<(), Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_slice::<Versioned>(bytes) {
        Ok(Versioned { v }) if v > VERSION => Err(Unreadable::Later(v)),
        Ok(_) => Ok(()),
        Err(error) => Err(Unreadable::Damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_written_as_pusher_writes_them_and_read_back() {
        let (channel, user) = (ChannelName::parse("presence-a").unwrap(), ClientName::parse("ann").unwrap());
        let table = [
            (
                Tidings::ChannelOccupied { channel: channel.clone() },
                json!({"name": "channel_occupied", "channel": "presence-a"}),
            ),
            (
                Tidings::MemberRemoved { channel: channel.clone(), user_id: user },
                json!({"name": "member_removed", "channel": "presence-a", "user_id": "ann"}),
            ),
            (
                Tidings::SubscriptionCount { channel: channel.clone(), subscription_count: 3 },
                json!({"name": "subscription_count", "channel": "presence-a", "subscription_count": 3}),
            ),
            (
                Tidings::ClientEvent {
                    channel,
                    event: "client-typing".into(),
                    data: "{}".into(),
                    socket_id: "1.2".into(),
                    user_id: None,
                },
                json!({"name": "client_event", "channel": "presence-a", "event": "client-typing", "data": "{}", "socket_id": "1.2"}),
            ),
        ];
        for (event, written) in table {
            assert_eq!(serde_json::to_value(&event).unwrap(), written);
            assert_eq!(event.kind().name(), written["name"]);
            let telling = Telling::new(AppId::generate(), WebhookId::generate(), event);
            assert_eq!(Telling::read(&telling.to_bytes()), Ok(telling));
        }
        assert_eq!(Telling::read(br#"{"v":2,"what":1}"#), Err(Unreadable::Later(2)));
        assert!(matches!(Telling::read(b"{}"), Err(Unreadable::Damaged(_))));
    }

    #[test]
    fn kinds_are_known_by_their_names() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!(EventKind::of_name("presence"), None);
    }
}
