//! Which partitions a worker takes from, as the table of owners changes.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError,
    ids::WorkerId,
    partitions::{Fence, Holdings, Partitions},
};
use tokio::{sync::watch, time::Instant};

use super::fakes::{FakeBus, FakeLog, Notes, OpenQueues};
use crate::{Health, OwnPorts, own};

/// A table of owners that says what a test says; `None` is a database that is away.
struct Table {
    notes: Notes,
    says: watch::Sender<Option<Holdings>>,
    turns: watch::Sender<u64>,
    released: Mutex<Vec<Fence>>,
    /// What it does not answer any more.
    hangs: Mutex<Option<Call>>,
    /// How often leaving fails before it succeeds.
    refuses: Mutex<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Hold,
    Release,
    Any,
}

impl Table {
    async fn answers(&self, call: Call) {
        let hangs = *self.hangs.lock().unwrap();
        if hangs.is_some_and(|hangs| hangs == call || hangs == Call::Any) {
            pending().await
        }
    }
}

#[async_trait]
impl Partitions for Table {
    async fn hold(&self, _: &WorkerId) -> Result<Holdings, StoreError> {
        self.turns.send_modify(|turns| *turns += 1);
        self.answers(Call::Hold).await;
        self.says.borrow().clone().ok_or_else(|| StoreError::unavailable("away"))
    }

    async fn release(&self, _: &WorkerId, fence: Fence) -> Result<(), StoreError> {
        self.notes.add(format!("release {}", fence.partition));
        self.answers(Call::Release).await;
        self.released.lock().unwrap().push(fence);
        Ok(())
    }

    async fn leave(&self, _: &WorkerId) -> Result<(), StoreError> {
        self.answers(Call::Any).await;
        let refusals = self.refuses.lock().unwrap().checked_sub(1);
        if let Some(refusals) = refusals {
            *self.refuses.lock().unwrap() = refusals;
            return Err(StoreError::unavailable("away"));
        }
        self.notes.add("leave");
        Ok(())
    }
}

fn holdings(partitions: &[u16], share: usize) -> Option<Holdings> {
    let owned = partitions.iter().map(|partition| Fence { partition: *partition, generation: 1 }).collect();
    Some(Holdings { owned, share })
}

struct Subject {
    notes: Notes,
    table: Arc<Table>,
    health: Arc<Health>,
    shutdown: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

impl Subject {
    fn start(first: Option<Holdings>) -> Self {
        let notes = Notes::default();
        let table = Arc::new(Table {
            notes: notes.clone(),
            says: watch::Sender::new(first),
            turns: watch::Sender::new(0),
            released: Mutex::default(),
            hangs: Mutex::default(),
            refuses: Mutex::default(),
        });
        let health = Arc::new(Health::default());
        let ports = OwnPorts {
            partitions: Arc::clone(&table) as _,
            queues: Arc::new(OpenQueues(notes.clone())),
            log: Arc::<FakeLog>::default(),
            bus: FakeBus::new(&notes),
            worker: WorkerId::generate(),
            health: Arc::clone(&health),
        };
        let (shutdown, stopped) = watch::channel(false);
        let running = tokio::spawn(own(ports, stopped));
        Self { notes, table, health, shutdown, running }
    }

    /// Lets so many turns pass, and everything that they begin.
    async fn turns(&self, count: u64) {
        let mut turns = self.table.turns.subscribe();
        let goal = *turns.borrow() + count;
        turns.wait_for(|turns| *turns >= goal).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn sorted_notes(&self) -> Vec<String> {
        let mut notes = self.notes.taken();
        notes.sort();
        notes
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_owned_is_taken_from_until_it_is_handed_over() {
    let subject = Subject::start(holdings(&[0, 1, 2], 3));
    subject.turns(2).await;
    assert_eq!(subject.sorted_notes(), ["open 0", "open 1", "open 2"]);
    assert_eq!((subject.health.open_partitions(), subject.health.report()), (3, Ok(())));
    subject.shutdown.send_replace(true);
    subject.running.await.unwrap();
    let notes = subject.notes.taken();
    assert_eq!(notes.last().unwrap(), "leave", "partitions are given back once nothing is taken from them: {notes:?}");
    assert_eq!(notes.iter().filter(|note| *note == "close").count() % 3, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_share_is_given_back_after_it_is_finished() {
    let subject = Subject::start(holdings(&[0, 1, 2, 3], 4));
    subject.turns(2).await;
    subject.notes.taken();
    subject.table.says.send_replace(holdings(&[0, 1, 2, 3], 2));
    subject.turns(1).await;
    let notes = subject.notes.taken();
    assert_eq!(notes[notes.len() - 2..], ["release 2", "release 3"], "{notes:?}");
    assert!(notes[0] == "close", "{notes:?}");
    subject.table.says.send_replace(holdings(&[0, 1], 2));
    subject.turns(2).await;
    assert_eq!(subject.health.open_partitions(), 2);
    assert!(subject.notes.taken().is_empty(), "the rest goes on undisturbed");
}

#[tokio::test(start_paused = true)]
async fn what_has_another_owner_is_let_go_at_once() {
    let subject = Subject::start(holdings(&[0, 1], 2));
    subject.turns(2).await;
    subject.notes.taken();
    subject.table.says.send_replace(holdings(&[1], 2));
    subject.turns(1).await;
    assert_eq!(subject.health.open_partitions(), 1);
    assert!(subject.table.released.lock().unwrap().is_empty(), "it is not ours to give back");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_here_too() {
    let subject = Subject::start(holdings(&[0], 1));
    subject.turns(2).await;
    subject.table.says.send_replace(None);
    subject.turns(3).await;
    assert_eq!(subject.health.open_partitions(), 1, "the lease still runs");
    subject.turns(5).await;
    assert_eq!(subject.health.open_partitions(), 0);
    subject.table.says.send_replace(holdings(&[0], 1));
    subject.turns(2).await;
    assert_eq!(subject.health.open_partitions(), 1);
}

/// A process that is asked to end does so within 5 s, of which this is only a part.
const END: Duration = Duration::from_secs(4);

#[tokio::test(start_paused = true)]
async fn a_worker_ends_in_time_in_the_middle_of_a_turn_at_a_database_that_does_not_answer() {
    for (share, what) in [(2, "its leases are not renewed"), (1, "what is beyond its share is not given back")] {
        let subject = Subject::start(holdings(&[0, 1], 2));
        subject.turns(2).await;
        subject.notes.taken();
        subject.table.says.send_replace(holdings(&[0, 1], share));
        *subject.table.hangs.lock().unwrap() = Some(if share == 2 { Call::Hold } else { Call::Release });
        subject.turns(1).await;
        *subject.table.hangs.lock().unwrap() = Some(Call::Any);
        let asked = Instant::now();
        subject.shutdown.send_replace(true);
        subject.running.await.unwrap();
        assert!(asked.elapsed() < END, "{what}: {:?}", asked.elapsed());
        let closed = subject.notes.taken().iter().filter(|note| *note == "close").count();
        assert!(closed >= 2, "{what}: nothing is taken any more");
        assert_eq!(subject.health.open_partitions(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn giving_everything_back_is_tried_again_while_there_is_time() {
    let subject = Subject::start(holdings(&[0], 1));
    subject.turns(2).await;
    *subject.table.refuses.lock().unwrap() = 2;
    subject.shutdown.send_replace(true);
    subject.running.await.unwrap();
    assert_eq!(subject.notes.taken().last().unwrap(), "leave");
}
