//! The contract of `Bus`: of one that ends with its process, and of one between processes.

use std::sync::Arc;

use fanfare_domain::{
    bus::{Broadcast, Bus, Heard, Listener},
    ids::{AppId, KeyId, MessageId},
    messages::{Envelope, Message},
    revocations::{Beat, Revision},
};
use fanfare_infra::memory::MemoryBus;
use fanfare_protocol::{Epoch, Serial};

use super::samples::{NOW, channel, json};
use crate::harness::sockets::PATIENCE;

/// A listener and what a test asks of it.
pub struct Ear {
    pub app: AppId,
    listener: Listener,
}

impl Ear {
    pub async fn on(bus: &dyn Bus, app: &AppId) -> Self {
        Self { app: app.clone(), listener: bus.listen().await.unwrap() }
    }

    pub async fn follow(&self, name: &str) {
        self.listener.following.follow(&self.app, &channel(name)).await;
    }

    pub fn unfollow(&self, name: &str) {
        self.listener.following.unfollow(&self.app, &channel(name));
    }

    /// Whatever is heard next.
    pub async fn hear(&mut self) -> Heard {
        let heard = tokio::time::timeout(PATIENCE, self.listener.heard.recv()).await;
        heard.expect("something is heard").expect("the bus is there")
    }

    /// What was sent and is heard next, as `chat:1` for a message of that data on the channel `chat`. Heads may come at any time.
    pub async fn sent(&mut self) -> String {
        loop {
            match self.hear().await {
                Heard::Sent(broadcast) => return shown(&broadcast),
                Heard::Head { .. } => {}
                Heard::Interrupted => panic!("the bus was interrupted"),
            }
        }
    }

    /// Passes over everything until it is told that something may have been lost.
    pub async fn interrupted(&mut self) {
        while !matches!(self.hear().await, Heard::Interrupted) {}
    }

    /// What was sent and is heard next, whatever else is told before it.
    pub async fn sent_at_last(&mut self) -> String {
        loop {
            if let Heard::Sent(broadcast) = self.hear().await {
                return shown(&broadcast);
            }
        }
    }
}

fn shown(broadcast: &Broadcast) -> String {
    match broadcast {
        Broadcast::Message(envelope) => format!("{}:{}", envelope.channel, envelope.message.data),
        Broadcast::Presence(event) => format!("{}:{} {}", event.place.channel, event.action.name(), event.entry.client),
        Broadcast::AppChanged(app) => format!("changed {app}"),
        Broadcast::KeyRevoked(key) => format!("revoked {key}"),
        Broadcast::Beat(number) => format!("beat {number}"),
        Broadcast::Revision(beat) => format!("revision {} at {}, read: {}", beat.revision.0, beat.at.0, beat.is_read),
    }
}

pub fn envelope(app: &AppId, name: &str, place: Option<(&str, u64)>, data: &str) -> Envelope {
    Envelope {
        app: app.clone(),
        channel: channel(name),
        place: place.map(|(epoch, serial)| (Epoch::new(epoch), Serial(serial))),
        exclude: None,
        trace: None,
        message: Message {
            id: MessageId::generate(),
            time: NOW,
            name: None,
            client: None,
            headers: None,
            data: json(data),
        },
    }
}

/// Messages of one channel of the epoch `e`, each with its serial for its data.
pub fn messages(app: &AppId, name: &str, serials: impl IntoIterator<Item = u64>) -> Vec<Broadcast> {
    let one = |serial: u64| envelope(app, name, Some(("e", serial)), &serial.to_string());
    serials.into_iter().map(|serial| Broadcast::Message(Arc::new(one(serial)))).collect()
}

pub fn ephemeral(app: &AppId, name: &str, data: &str) -> Broadcast {
    Broadcast::Message(Arc::new(envelope(app, name, None, data)))
}

/// A bus as a process sees it that sends, and as one sees it that listens.
pub struct Sides {
    pub sender: Arc<dyn Bus>,
    pub receiver: Arc<dyn Bus>,
}

async fn followed_channels_are_heard_in_order_and_no_others(Sides { sender, receiver }: Sides) {
    let (app, other) = (AppId::generate(), AppId::generate());
    let (mut one, mut two) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    one.follow("chat").await;
    two.follow("chat").await;
    two.follow("news").await;
    let batches = [("chat", 1..3), ("news", 1..2), ("chat", 3..4), ("else", 1..2), ("chat", 4..5)];
    let broadcasts = batches.into_iter().flat_map(|(name, serials)| messages(&app, name, serials));
    sender.send(messages(&other, "chat", 1..2)).await.unwrap();
    sender.send(broadcasts.collect()).await.unwrap();
    sender.send(messages(&app, "chat", 5..6)).await.unwrap();
    for expected in 1..6 {
        assert_eq!(one.sent().await, format!("chat:{expected}"));
    }
    let mut heard = Vec::new();
    for _ in 0..6 {
        heard.push(two.sent().await);
    }
    heard.retain(|sent| sent != "news:1");
    assert_eq!(heard, ["chat:1", "chat:2", "chat:3", "chat:4", "chat:5"]);
}

async fn messages_without_a_place_are_heard_among_the_others(Sides { sender, receiver }: Sides) {
    let app = AppId::generate();
    let mut ear = Ear::on(&*receiver, &app).await;
    ear.follow("chat").await;
    let mut broadcasts = messages(&app, "chat", 1..3);
    broadcasts.insert(1, ephemeral(&app, "chat", "\"typing\""));
    sender.send(broadcasts).await.unwrap();
    sender.send(vec![ephemeral(&app, "chat", "\"again\"")]).await.unwrap();
    for expected in ["chat:1", "chat:\"typing\"", "chat:2", "chat:\"again\""] {
        assert_eq!(ear.sent().await, expected);
    }
}

async fn control_messages_and_beats_reach_everyone(Sides { sender, receiver }: Sides) {
    let (app, key) = (AppId::generate(), KeyId::generate());
    let (mut one, mut two) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    one.follow("chat").await;
    let number = Beat { revision: Revision(17), at: NOW, is_read: true };
    let said = [
        Broadcast::AppChanged(app.clone()),
        Broadcast::KeyRevoked(key.clone()),
        Broadcast::Revision(number),
        Broadcast::Beat(7),
    ];
    let told = format!("revision 17 at {}, read: true", NOW.0);
    let expected = [format!("changed {app}"), format!("revoked {key}"), told, "beat 7".to_owned()];
    for broadcast in said {
        sender.send(vec![broadcast]).await.unwrap();
    }
    for expected in expected {
        assert_eq!((one.sent().await, two.sent().await), (expected.clone(), expected));
    }
}

async fn a_listener_hears_only_what_comes_after_it(Sides { sender, receiver }: Sides) {
    let app = AppId::generate();
    let mut early = Ear::on(&*receiver, &app).await;
    early.follow("chat").await;
    sender.send(messages(&app, "chat", 1..2)).await.unwrap();
    assert_eq!(early.sent().await, "chat:1");
    let mut late = Ear::on(&*receiver, &app).await;
    late.follow("chat").await;
    sender.send(messages(&app, "chat", 2..3)).await.unwrap();
    assert_eq!((early.sent().await, late.sent().await), ("chat:2".to_owned(), "chat:2".to_owned()));
}

async fn a_channel_that_was_left_is_heard_by_those_who_stay(Sides { sender, receiver }: Sides) {
    let app = AppId::generate();
    let (mut leaves, mut stays) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    for ear in [&leaves, &stays] {
        ear.follow("chat").await;
        ear.follow("news").await;
    }
    leaves.unfollow("chat");
    sender.send(messages(&app, "chat", 1..2)).await.unwrap();
    assert_eq!(stays.sent().await, "chat:1");
    sender.send(messages(&app, "news", 1..2)).await.unwrap();
    assert_eq!((leaves.sent().await, stays.sent().await), ("news:1".to_owned(), "news:1".to_owned()));
}

async fn a_channel_left_and_followed_in_haste_ends_right(Sides { sender, receiver }: Sides) {
    let app = AppId::generate();
    let mut ear = Ear::on(&*receiver, &app).await;
    for serial in 1..50 {
        ear.follow("chat").await;
        if serial % 3 == 0 {
            ear.unfollow("chat");
            ear.unfollow("chat");
            ear.follow("chat").await;
        }
        sender.send(messages(&app, "chat", serial..serial + 1)).await.unwrap();
        assert_eq!(ear.sent().await, format!("chat:{serial}"));
        ear.unfollow("chat");
    }
}

async fn a_listener_that_went_away_holds_up_nobody(Sides { sender, receiver }: Sides) {
    let app = AppId::generate();
    let (gone, mut left) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    gone.follow("chat").await;
    left.follow("chat").await;
    drop(gone);
    for serial in 1..6_000 {
        sender.send(messages(&app, "chat", [serial])).await.unwrap();
        assert_eq!(left.sent().await, format!("chat:{serial}"));
    }
}

async fn the_last_beat_is_that_of_a_listening_process(Sides { sender, receiver }: Sides) {
    let mut ear = Ear::on(&*receiver, &AppId::generate()).await;
    assert!(receiver.last_beat().is_none());
    sender.send(vec![Broadcast::Beat(1)]).await.unwrap();
    assert_eq!(ear.sent().await, "beat 1");
    let first = receiver.last_beat().unwrap();
    assert!(first.elapsed() < PATIENCE);
    sender.send(vec![Broadcast::Beat(2)]).await.unwrap();
    assert_eq!(ear.sent().await, "beat 2");
    assert!(receiver.last_beat().unwrap() > first);
}

macro_rules! hold_buses_to {
    ($($fact:ident)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $fact() {
                let bus: std::sync::Arc<dyn fanfare_domain::bus::Bus> = std::sync::Arc::new(super::MemoryBus::default());
                super::$fact(super::Sides { sender: bus.clone(), receiver: bus }).await;
            })+
        }

        mod on_redis {
            $(#[tokio::test]
            async fn $fact() {
                let server = crate::harness::redis::server().await;
                super::$fact(crate::stores::redis::sides(&server.url())).await;
            })+
        }
    };
}

hold_buses_to! {
    followed_channels_are_heard_in_order_and_no_others
    messages_without_a_place_are_heard_among_the_others
    control_messages_and_beats_reach_everyone
    a_listener_hears_only_what_comes_after_it
    a_channel_that_was_left_is_heard_by_those_who_stay
    a_channel_left_and_followed_in_haste_ends_right
    a_listener_that_went_away_holds_up_nobody
    the_last_beat_is_that_of_a_listening_process
}

#[tokio::test]
async fn in_memory_a_slow_listener_delays_the_sender_and_loses_nothing() {
    let app = AppId::generate();
    let bus = Arc::new(MemoryBus::new(4));
    let mut slow = Ear::on(&*bus, &app).await;
    slow.follow("chat").await;
    let broadcasts = messages(&app, "chat", 1..20);
    let sender = tokio::spawn(async move { bus.send(broadcasts).await });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!sender.is_finished());
    for serial in 1..20 {
        assert_eq!(slow.sent().await, format!("chat:{serial}"));
    }
    sender.await.unwrap().unwrap();
}
