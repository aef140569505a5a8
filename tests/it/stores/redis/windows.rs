//! The log with hot windows before it reads as the log does, and shows which of them answered.

use std::sync::Arc;

use fanfare_domain::{
    Timestamp,
    apps::App,
    bus::{Broadcast, Bus},
    history::{Appended, HistoryPage, MessageLog, Visible},
    messages::{Envelope, Message},
    publishing::Accepted,
    rules::Retention,
};
use fanfare_infra::{
    names::Names,
    redis::{Redis, WindowedLog},
    sql::SqlStore,
};
use fanfare_protocol::{Serial, requests::Range};
use tempfile::TempDir;

use crate::{
    harness::redis,
    stores::{
        engines::{self, Engine},
        redis::bus,
        samples::{DAY_S, NOW, at, channel, message, new_app},
    },
};

const LATER: Timestamp = Timestamp(NOW.0 + 60_000);

struct Ground {
    server: redis::Redis,
    store: Engine<TempDir>,
    bus: Arc<dyn Bus>,
    windowed: Arc<dyn MessageLog>,
    app: App,
}

async fn ground() -> Ground {
    let (server, store) = (redis::server().await, engines::sqlite().await);
    let log: Arc<dyn MessageLog> = Arc::new(store.store.clone());
    let windowed = WindowedLog::new(log, Redis::connect(&server.url(), Names::default()).unwrap());
    let app = new_app(&store.store).await;
    Ground { bus: bus(&server.url()), server, store, windowed, app }
}

fn everything() -> Visible {
    Visible { retention: Retention { retention_s: DAY_S, max_messages: None }, now: LATER }
}

impl Ground {
    fn log(&self) -> &SqlStore {
        &self.store.store
    }

    /// Appends a message of each time, and sends what `is_sent` names.
    async fn publish(&self, times: &[Timestamp], is_sent: impl Fn(u64) -> bool) {
        for time in times {
            let accepted: Accepted = at(message(&self.app, "chat", &time.0.to_string()), *time);
            let appended = self.log().append(None, std::slice::from_ref(&accepted)).await.unwrap();
            let [Appended::Stored { epoch, serial, time }] = &appended[..] else { panic!("{appended:?}") };
            if is_sent(serial.0) {
                let envelope = Envelope {
                    app: accepted.app,
                    channel: accepted.channel,
                    place: Some((epoch.clone(), *serial)),
                    exclude: None,
                    trace: None,
                    message: Message { time: *time, ..accepted.message },
                };
                self.bus.send(vec![Broadcast::Message(Arc::new(envelope))]).await.unwrap();
            }
        }
    }

    async fn read(&self, log: &dyn MessageLog, range: Range, limit: u32, visible: Visible) -> HistoryPage {
        log.read(&self.app.id, &channel("chat"), range, limit, visible).await.unwrap().unwrap()
    }

    /// Reads both ways, which must agree on everything but the floor where that is of no importance.
    async fn compare(&self, range: Range, limit: u32, visible: Visible) {
        let expected = self.read(self.log(), range, limit, visible).await;
        let found = self.read(&*self.windowed, range, limit, visible).await;
        assert_eq!(format!("{:?}", found.items), format!("{:?}", expected.items), "{range:?} {limit}");
        assert_eq!((found.more, &found.head), (expected.more, &expected.head), "{range:?} {limit}");
        match range {
            Range::After(after) if expected.floor <= after => assert!(found.floor <= after),
            _ => assert_eq!(found.floor, expected.floor, "{range:?} {limit}"),
        }
    }

    /// The serials that are read after one when the log itself has lost everything, so that only a window can answer.
    async fn read_window_alone(&self, after: u64) -> Vec<u64> {
        let nothing = engines::sqlite().await;
        let log: Arc<dyn MessageLog> = Arc::new(nothing.store.clone());
        let windowed = WindowedLog::new(log, Redis::connect(&self.server.url(), Names::default()).unwrap());
        let range = Range::After(Serial(after));
        let page = windowed.read(&self.app.id, &channel("chat"), range, 1_000, everything()).await.unwrap();
        page.map(|page| page.items.iter().map(|(serial, _)| serial.0).collect()).unwrap_or_default()
    }
}

fn times(count: u64) -> Vec<Timestamp> {
    (0..count).map(|n| Timestamp(NOW.0 + n)).collect()
}

#[tokio::test]
async fn every_page_is_as_the_log_has_it() {
    let ground = ground().await;
    ground.publish(&times(300), |_| true).await;
    for after in [0, 1, 43, 44, 45, 150, 298, 299, 300, 301, 1_000, u64::MAX] {
        for limit in [0, 1, 10, 1_000] {
            ground.compare(Range::After(Serial(after)), limit, everything()).await;
        }
    }
    ground.compare(Range::Newest, 10, everything()).await;
    ground.compare(Range::Before(Serial(200)), 10, everything()).await;
}

#[tokio::test]
async fn the_window_answers_where_it_reaches_and_only_there() {
    let ground = ground().await;
    ground.publish(&times(300), |_| true).await;
    assert_eq!(ground.read_window_alone(44).await, (45..=300).collect::<Vec<_>>());
    assert_eq!(ground.read_window_alone(299).await, [300]);
    assert!(ground.read_window_alone(43).await.is_empty());
    assert!(ground.read_window_alone(300).await.is_empty());
}

#[tokio::test]
async fn a_hole_is_read_from_the_log() {
    let ground = ground().await;
    ground.publish(&times(20), |serial| serial != 10).await;
    for after in [0, 8, 9, 10, 15] {
        ground.compare(Range::After(Serial(after)), 1_000, everything()).await;
    }
    assert!(ground.read_window_alone(9).await.is_empty());
    assert_eq!(ground.read_window_alone(10).await, (11..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_read_from_a_window() {
    let ground = ground().await;
    ground.publish(&times(20), |_| true).await;
    let last_five = Retention { retention_s: DAY_S, max_messages: Some(5) };
    let fresh = Visible { retention: Retention { retention_s: 60, max_messages: None }, now: Timestamp(LATER.0 + 10) };
    for after in [0, 8, 14, 15, 19] {
        ground.compare(Range::After(Serial(after)), 1_000, Visible { retention: last_five, now: LATER }).await;
        ground.compare(Range::After(Serial(after)), 1_000, fresh).await;
    }
}

#[tokio::test]
async fn a_head_is_that_of_the_bus_where_it_has_one() {
    let ground = ground().await;
    let head = async |log: &dyn MessageLog| log.head(&ground.app.id, &channel("chat")).await.unwrap().unwrap();
    assert_eq!(head(&*ground.windowed).await, head(ground.log()).await);
    ground.publish(&times(5), |serial| serial < 4).await;
    assert_eq!(head(&*ground.windowed).await.serial, Serial(3));
    assert_eq!(head(ground.log()).await.serial, Serial(5));
}

#[tokio::test]
async fn a_redis_that_is_away_leaves_everything_to_the_log() {
    let mut ground = ground().await;
    ground.publish(&times(5), |_| true).await;
    ground.server.engine().stop();
    ground.compare(Range::After(Serial(2)), 10, everything()).await;
    ground.server.engine().cont();
    ground.server.engine().kill9().await;
    ground.compare(Range::After(Serial(2)), 10, everything()).await;
}
