//! Engines that do as a test says, and note what they were asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    bus::{Ahead, Broadcast, Bus, BusError, Listener},
    history::{Appended, Found, Head, HistoryPage, MessageLog, Visible},
    ids::{AppId, MessageId},
    messages::Message,
    partitions::{Fence, Partition},
    publishing::{Accepted, Batch, Queue, QueueError, Queues},
    rules::Retention,
};
use fanfare_protocol::{ChannelName, Epoch, Serial, requests::Range};
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// What was done, in order, by everything of one test.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(super) fn message(data: &str) -> Accepted {
    Accepted {
        app: AppId::parse("app_a").unwrap(),
        channel: ChannelName::parse("chat").unwrap(),
        message: Message {
            id: MessageId::generate(),
            time: Timestamp(1),
            name: None,
            client: None,
            headers: None,
            data: RawValue::from_string(data.to_owned()).unwrap(),
        },
        keyed: false,
        fingerprint: [0; 16],
        exclude: None,
        retention: Retention { retention_s: 60, max_messages: None },
        trace: None,
        redelivered: false,
    }
}

/// A queue of batches that are there from the start; it ends after the last one, or stays open.
pub(super) struct FakeQueue {
    pub notes: Notes,
    batches: Mutex<VecDeque<Vec<Accepted>>>,
    stays_open: bool,
    closed: Notify,
    awaited: bool,
}

impl FakeQueue {
    pub fn of(notes: &Notes, batches: Vec<Vec<Accepted>>) -> Arc<Self> {
        Arc::new(Self::new(notes, batches, false, false))
    }

    pub fn awaited(notes: &Notes, batches: Vec<Vec<Accepted>>) -> Arc<Self> {
        Arc::new(Self::new(notes, batches, false, true))
    }

    fn new(notes: &Notes, batches: Vec<Vec<Accepted>>, stays_open: bool, awaited: bool) -> Self {
        let batches = Mutex::new(batches.into());
        Self { notes: notes.clone(), batches, stays_open, closed: Notify::new(), awaited }
    }
}

#[async_trait]
impl Queue for FakeQueue {
    async fn next(&self) -> Option<Box<dyn Batch>> {
        let next = self.batches.lock().unwrap().pop_front();
        if next.is_none() && self.stays_open {
            self.closed.notified().await;
        }
        next.map(|messages| {
            Box::new(FakeBatch { notes: self.notes.clone(), messages, awaited: self.awaited }) as Box<dyn Batch>
        })
    }

    async fn close(&self) {
        self.notes.add("close");
        self.closed.notify_one();
    }
}

struct FakeBatch {
    notes: Notes,
    messages: Vec<Accepted>,
    awaited: bool,
}

#[async_trait]
impl Batch for FakeBatch {
    fn messages(&self) -> &[Accepted] {
        &self.messages
    }

    fn answer(&mut self, outcomes: &[Appended]) {
        self.notes.add(format!("answer {}", outcomes.len()));
    }

    fn is_awaited(&self, _: usize) -> bool {
        self.awaited
    }

    async fn bury(&mut self, at: usize, reason: &str, detail: &str) -> Result<(), QueueError> {
        self.notes.add(format!("bury {} {reason}: {detail}", self.messages[at].message.data.get()));
        Ok(())
    }

    fn fail(self: Box<Self>) {
        self.notes.add("fail");
    }

    async fn ack(self: Box<Self>) {
        self.notes.add("ack");
    }
}

/// Queues that are all alike: open, empty, and never ending by themselves.
pub(super) struct OpenQueues(pub Notes);

#[async_trait]
impl Queues for OpenQueues {
    async fn open(&self, partition: Partition) -> Result<Arc<dyn Queue>, QueueError> {
        self.0.add(format!("open {partition}"));
        Ok(Arc::new(FakeQueue::new(&self.0, Vec::new(), true, false)))
    }
}

/// An outcome of its own, or `None` where the message is stored.
pub(super) type Outcome = Result<Option<Appended>, StoreError>;

/// A log that stores what it is given, but for what a test gives an outcome of its own.
#[derive(Default)]
pub(super) struct FakeLog {
    pub serial: Mutex<u64>,
    pub head: Mutex<Option<Head>>,
    /// What comes of a message with that data.
    pub outcome: Option<fn(&str) -> Outcome>,
}

pub(super) fn epoch() -> Epoch {
    Epoch::new("e")
}

#[async_trait]
impl MessageLog for FakeLog {
    async fn append(&self, _: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError> {
        let chosen: Vec<_> = messages
            .iter()
            .map(|accepted| self.outcome.map_or(Ok(None), |outcome| outcome(accepted.message.data.get())))
            .collect::<Result<_, _>>()?;
        let mut serial = self.serial.lock().unwrap();
        let stored = |serial: &mut u64| {
            *serial += 1;
            Appended::Stored { epoch: epoch(), serial: Serial(*serial), time: Timestamp(1) }
        };
        Ok(chosen.into_iter().map(|outcome| outcome.unwrap_or_else(|| stored(&mut serial))).collect())
    }

    async fn head(&self, _: &AppId, _: &ChannelName) -> Result<Option<Head>, StoreError> {
        Ok(self.head.lock().unwrap().clone())
    }

    async fn heads(&self, channels: &[(AppId, ChannelName)]) -> Result<Vec<Option<Head>>, StoreError> {
        Ok(vec![self.head.lock().unwrap().clone(); channels.len()])
    }

    async fn read(
        &self,
        _: &AppId,
        _: &ChannelName,
        _: Range,
        _: u32,
        _: Visible,
    ) -> Result<Option<HistoryPage>, StoreError> {
        Err(StoreError::unavailable("workers read no pages"))
    }

    async fn find(&self, _: &AppId, _: &ChannelName, _: &MessageId, _: Visible) -> Result<Option<Found>, StoreError> {
        Err(StoreError::unavailable("workers look for no message"))
    }

    async fn sweep(&self, _: Timestamp, _: u32) -> Result<usize, StoreError> {
        Ok(0)
    }
}

/// A bus that notes what it is given, and is away for so many sends first.
pub(super) struct FakeBus {
    pub notes: Notes,
    pub away_for: Mutex<u32>,
    pub ahead: Vec<Ahead>,
}

impl FakeBus {
    pub fn new(notes: &Notes) -> Arc<Self> {
        Arc::new(Self { notes: notes.clone(), away_for: Mutex::new(0), ahead: Vec::new() })
    }
}

#[async_trait]
impl Bus for FakeBus {
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<Vec<Ahead>, BusError> {
        let mut away_for = self.away_for.lock().unwrap();
        if *away_for > 0 {
            *away_for -= 1;
            return Err(BusError("it is away".to_owned()));
        }
        for broadcast in broadcasts {
            let Broadcast::Message(envelope) = broadcast else { continue };
            let serial = envelope.place.as_ref().map_or(0, |(_, serial)| serial.0);
            self.notes.add(format!("send {serial} {}", envelope.message.data.get()));
        }
        Ok(self.ahead.clone())
    }

    async fn listen(&self) -> Result<Listener, BusError> {
        Err(BusError("workers do not listen".to_owned()))
    }

    fn last_beat(&self) -> Option<std::time::Instant> {
        None
    }
}
