//! The contract of `Presence`.

use std::sync::Arc;

use fanfare_domain::{
    bus::{Broadcast, Bus, Heard, Listener},
    clock::SystemClock,
    ids::{AppId, ConnectionId},
    presence::{Entry, GRACE, Place, Presence, PresenceError, PresenceEvent},
};
use fanfare_infra::{
    memory::{MemoryBus, MemoryPresence},
    names::Names,
    redis::{PresenceTimes, Redis, RedisBus, RedisPresence},
};
use fanfare_protocol::{ClientName, presence::PresenceAction};

use super::samples::{channel, json};
use crate::harness::sockets::PATIENCE;

/// A node's presence, and what is heard of it.
pub struct Side {
    pub presence: Arc<dyn Presence>,
    pub place: Place,
    listener: Listener,
    _bus: Arc<dyn Bus>,
    version: Option<u64>,
}

impl Side {
    pub async fn new(presence: Arc<dyn Presence>, bus: Arc<dyn Bus>, app: &AppId) -> Self {
        let place = Place { app: app.clone(), channel: channel("chat:1") };
        let listener = bus.listen().await.unwrap();
        listener.following.follow(&place.app, &place.channel).await;
        Self { presence, place, listener, _bus: bus, version: None }
    }

    pub async fn in_memory() -> Self {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
        let presence = MemoryPresence::new(bus.clone(), Arc::new(SystemClock));
        Self::new(presence, bus, &AppId::generate()).await
    }

    pub async fn on_redis(url: &str, name: &str, times: PresenceTimes, app: &AppId) -> Self {
        let redis = Redis::connect(url, Names::default()).unwrap();
        let bus = RedisBus::new(redis.clone());
        Self::new(RedisPresence::with_times(redis, name, times), bus, app).await
    }

    /// The next event, whose version must be the next.
    pub async fn event(&mut self) -> PresenceEvent {
        let event = self.any_event().await;
        let expected = self.version.map_or(event.version, |version| version + 1);
        assert_eq!(event.version, expected, "{event:?}");
        self.version = Some(event.version);
        event
    }

    /// The next event, whatever was forgotten before it.
    pub async fn any_event(&mut self) -> PresenceEvent {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.listener.heard.recv()).await;
            if let Heard::Sent(Broadcast::Presence(event)) =
                heard.expect("something is heard").expect("the bus is there")
                && event.place == self.place
            {
                return Arc::unwrap_or_clone(event);
            }
        }
    }

    /// The next event as `enter ann 1`.
    pub async fn said(&mut self) -> String {
        shown(&self.event().await)
    }

    pub async fn enter(&self, client: &str, at: &ConnectionId, data: &str) -> Result<(), PresenceError> {
        self.presence.enter(&self.place, entry(client, at, data), 1_000).await
    }

    pub async fn members(&self) -> Vec<String> {
        let page = self.presence.page(&self.place, None, 1_000).await.unwrap();
        assert_eq!(page.count, page.items.len() as u64);
        page.items.iter().map(|member| member.entry.client.to_string()).collect()
    }
}

pub fn shown(event: &PresenceEvent) -> String {
    let data = event.entry.data.as_ref().map_or("", |data| data.get());
    format!("{} {} {data}", event.action.name(), event.entry.client)
}

pub fn entry(client: &str, connection: &ConnectionId, data: &str) -> Entry {
    let client = ClientName::parse(client).unwrap();
    Entry { connection: connection.clone(), client, data: Some(json(data)), info: None }
}

pub fn connection() -> ConnectionId {
    ConnectionId::generate()
}

async fn the_first_connection_enters_and_the_last_leaves(mut side: Side) {
    let (one, two) = (connection(), connection());
    side.enter("ann", &one, "1").await.unwrap();
    assert_eq!(side.said().await, "enter ann 1");
    side.enter("ann", &two, "1").await.unwrap();
    side.enter("ann", &two, "2").await.unwrap();
    let update = side.event().await;
    assert_eq!((shown(&update), update.entry.connection), ("update ann 2".to_owned(), two.clone()));
    side.presence.update(&side.place, entry("ann", &one, "2")).await.unwrap();
    assert_eq!(side.said().await, "update ann 2");
    side.presence.leave(&side.place, &one, None).await.unwrap();
    assert_eq!(side.members().await, ["ann"]);
    side.presence.leave(&side.place, &two, Some(json("\"bye\""))).await.unwrap();
    assert_eq!(side.said().await, "leave ann \"bye\"");
    assert!(side.members().await.is_empty());
}

async fn what_was_not_entered_is_neither_updated_nor_left(mut side: Side) {
    let (one, two) = (connection(), connection());
    side.enter("ann", &one, "1").await.unwrap();
    let update = side.presence.update(&side.place, entry("ann", &two, "1")).await;
    assert!(matches!(update, Err(PresenceError::NotEntered)), "{update:?}");
    let leave = side.presence.leave(&side.place, &two, None).await;
    assert!(matches!(leave, Err(PresenceError::NotEntered)), "{leave:?}");
    assert_eq!(side.said().await, "enter ann 1");
    side.presence.withdraw(&side.place, &two);
    side.presence.withdraw(&side.place, &one);
    assert_eq!(side.said().await, "leave ann 1");
}

async fn who_comes_back_in_time_was_never_away_and_who_does_not_leaves_once(mut side: Side) {
    let (one, two) = (connection(), connection());
    let of_bob = connection();
    side.enter("ann", &one, "1").await.unwrap();
    side.enter("bob", &of_bob, "1").await.unwrap();
    assert_eq!((side.said().await, side.said().await), ("enter ann 1".to_owned(), "enter bob 1".to_owned()));
    let begun = std::time::Instant::now();
    side.presence.ended(&one);
    side.presence.ended(&of_bob);
    side.enter("ann", &two, "1").await.unwrap();
    assert_eq!(side.members().await, ["ann", "bob"]);
    assert_eq!(side.said().await, "leave bob 1");
    assert!(begun.elapsed() >= GRACE - std::time::Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(side.members().await, ["ann"]);
}

async fn a_channel_takes_so_many_members(side: Side) {
    let (ann, bob) = (connection(), connection());
    let enter =
        async |client: &str, at: &ConnectionId| side.presence.enter(&side.place, entry(client, at, "1"), 1).await;
    enter("ann", &ann).await.unwrap();
    assert!(matches!(enter("bob", &bob).await, Err(PresenceError::Full(1))));
    enter("ann", &connection()).await.unwrap();
    let leave = side.presence.leave(&side.place, &bob, None).await;
    assert!(matches!(leave, Err(PresenceError::NotEntered)), "{leave:?}");
    let elsewhere = Place { channel: channel("chat:2"), ..side.place.clone() };
    side.presence.enter(&elsewhere, entry("bob", &bob, "1"), 1).await.unwrap();
}

async fn members_are_listed_as_they_said_page_by_page(mut side: Side) {
    let names = ["a\"b\\c", "ann", "bob", "zoë 🙂"];
    for name in names.iter().rev() {
        side.enter(name, &connection(), r#"{"a/b":1.0,"c":[]}"#).await.unwrap();
        let event = side.event().await;
        assert_eq!((event.entry.client.as_str(), event.action), (*name, PresenceAction::Enter));
        assert_eq!(event.entry.data.unwrap().get(), r#"{"a/b":1.0,"c":[]}"#);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = side.presence.page(&side.place, after.as_ref(), 2).await.unwrap();
        assert_eq!(page.count, 4);
        found.extend(page.items.iter().map(|member| member.entry.client.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, names);
    let snapshot = side.presence.snapshot(&side.place).await.unwrap();
    assert_eq!((snapshot.members.len(), Some(snapshot.version)), (4, side.version));
    assert_eq!(snapshot.members[0].entry.data.as_ref().unwrap().get(), r#"{"a/b":1.0,"c":[]}"#);
}

async fn apps_and_channels_are_apart(mut side: Side) {
    let (one, other) = (connection(), Place { app: AppId::generate(), ..side.place.clone() });
    let elsewhere = Place { channel: channel("chat:2"), ..side.place.clone() };
    for place in [&other, &elsewhere] {
        side.presence.enter(place, entry("eve", &one, "1"), 10).await.unwrap();
    }
    side.enter("ann", &connection(), "1").await.unwrap();
    assert_eq!(side.said().await, "enter ann 1");
    assert_eq!(side.members().await, ["ann"]);
    side.presence.ended(&one);
}

async fn many_at_once_each_enter_once(mut side: Side) {
    let side_ref = &side;
    let enters = (0..300).map(async |number| {
        side_ref.enter(&format!("client-{}", number % 100), &connection(), "1").await.unwrap();
    });
    futures::future::join_all(enters).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let event = side.event().await;
        assert!(event.action == PresenceAction::Enter && seen.insert(event.entry.client.clone()), "{event:?}");
    }
    assert_eq!(side.members().await.len(), 100);
}

/// Makes one test of each fact for each engine.
macro_rules! hold_presence_to {
    ($($fact:ident)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact(super::Side::in_memory().await).await;
            })+
        }

        mod on_redis {
            $(#[tokio::test]
            async fn $fact() {
                let server = crate::harness::redis::server().await;
                let (app, times) = (super::AppId::generate(), super::PresenceTimes::default());
                super::$fact(super::Side::on_redis(&server.url(), "one", times, &app).await).await;
            })+
        }
    };
}

hold_presence_to! {
    the_first_connection_enters_and_the_last_leaves
    what_was_not_entered_is_neither_updated_nor_left
    who_comes_back_in_time_was_never_away_and_who_does_not_leaves_once
    a_channel_takes_so_many_members
    members_are_listed_as_they_said_page_by_page
    apps_and_channels_are_apart
    many_at_once_each_enter_once
}
