//! Whose turn it is, when, and with how much.

use fanfare_domain::{Timestamp, ids::MessageId, messages::Message, rules::Retention};
use fanfare_protocol::{ChannelName, requests::Ack};
use serde_json::value::RawValue;

use super::{super::waiters::waiters, *};

const BOUNDS: QueueBounds = QueueBounds {
    bytes: usize::MAX,
    messages: usize::MAX,
    batch_messages: 1_000,
    batch_bytes: usize::MAX,
    share_messages: 32,
};

/// What waits, and a clock.
struct Subject {
    waiting: Waiting,
    begun: Instant,
}

impl Subject {
    fn new() -> Self {
        Self { waiting: Waiting::default(), begun: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    /// An app submits messages at a time in ms.
    fn submits(&mut self, app: &str, count: usize, ms: u64) {
        let now = self.at(ms);
        let messages = (0..count).map(|_| message(app));
        let (waiters, _) = waiters((0..count).map(|_| MessageId::generate()).collect(), Ack::Accepted);
        let entries = messages.zip(waiters).map(|(accepted, waiter)| Entry { accepted, bytes: 1, waiter, since: now });
        self.waiting.extend(entries, now);
    }

    /// When a batch is due that is looked for then, in ms.
    fn due(&self, ms: u64) -> Option<u64> {
        let due = self.waiting.due(self.at(ms))?;
        Some(due.duration_since(self.begun).as_millis() as u64)
    }

    /// How many messages of each app the batch has that is taken then.
    fn takes(&mut self, ms: u64) -> Vec<(String, usize)> {
        let now = self.at(ms);
        let mut counts: Vec<(String, usize)> = Vec::new();
        for entry in self.waiting.take(&BOUNDS, now) {
            let app = entry.accepted.app.to_string();
            match counts.last_mut().filter(|(last, _)| *last == app) {
                Some((_, count)) => *count += 1,
                None => counts.push((app, 1)),
            }
        }
        counts
    }
}

fn message(app: &str) -> Accepted {
    let data = RawValue::from_string("1".to_owned()).unwrap();
    let id = MessageId::generate();
    Accepted {
        app: AppId::parse(app).unwrap(),
        channel: ChannelName::parse("a").unwrap(),
        message: Message { id, time: Timestamp(1), name: None, client: None, headers: None, data },
        keyed: false,
        fingerprint: [0; 16],
        exclude: None,
        retention: Retention { retention_s: 60, max_messages: None },
        trace: None,
        redelivered: false,
    }
}

fn batch<const N: usize>(counts: [(&str, usize); N]) -> Vec<(String, usize)> {
    counts.map(|(app, count)| (app.to_owned(), count)).into()
}

const BULK: &str = "app_bulk";
const FEW_OF: &str = "app_few";

#[test]
fn whoever_is_alone_waits_for_nobody_and_fills_the_batch() {
    let mut subject = Subject::new();
    assert_eq!(subject.due(0), None);
    subject.submits(BULK, 1, 0);
    assert_eq!((subject.due(0), subject.takes(0)), (Some(0), batch([(BULK, 1)])));
    subject.submits(BULK, 100, 1);
    assert_eq!((subject.due(1), subject.takes(1)), (Some(1), batch([(BULK, 100)])));
    assert_eq!(subject.due(1), None);
}

#[test]
fn bulk_rides_with_the_commits_of_who_publishes_few_messages() {
    let mut subject = Subject::new();
    subject.submits(FEW_OF, 1, 0);
    assert_eq!((subject.due(0), subject.takes(0)), (Some(0), batch([(FEW_OF, 1)])));
    subject.submits(BULK, 70, 2);
    assert_eq!(subject.due(2), Some(25), "company is expected");
    for (ms, taken) in [(10, 32), (20, 32), (30, 6)] {
        subject.submits(FEW_OF, 1, ms);
        assert_eq!(subject.due(ms), Some(ms), "whoever publishes few never waits");
        assert_eq!(subject.takes(ms), batch([(BULK, taken), (FEW_OF, 1)]));
        // What is left is bulk also where it is little.
        assert_eq!(subject.due(ms), (taken == 32).then_some(ms + 25));
    }
}

#[test]
fn bulk_waits_for_a_moment_only() {
    let mut subject = Subject::new();
    subject.submits(FEW_OF, 1, 0);
    subject.takes(0);
    subject.submits(BULK, 100, 5);
    assert_eq!(subject.due(5), Some(25));
    // Nobody came.
    assert_eq!((subject.due(26), subject.takes(26)), (Some(25), batch([(BULK, 32)])));
    assert_eq!(subject.due(27), Some(25), "nor is anybody expected any more");
    // Company that never ends holds nothing up for ever.
    subject.submits(FEW_OF, 1, 203);
    assert_eq!(subject.takes(203), batch([(BULK, 32), (FEW_OF, 1)]));
    assert_eq!(subject.due(204), Some(205));
}

#[test]
fn bulk_does_not_wait_for_bulk_nor_for_its_own_app() {
    let mut subject = Subject::new();
    subject.submits(FEW_OF, 1, 0);
    subject.takes(0);
    subject.submits(BULK, 100, 1);
    subject.submits(FEW_OF, 100, 2);
    assert_eq!((subject.due(2), subject.takes(2)), (Some(2), batch([(BULK, 32), (FEW_OF, 32)])));
    assert_eq!(subject.due(3), Some(3));
}
