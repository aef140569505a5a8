//! A node's list in virtual time, over databases that answer, do not, or answer late.

use std::{
    collections::VecDeque,
    future::pending,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use tokio::{
    task::JoinHandle,
    time::{advance, sleep},
};

use super::{
    super::{Beat, Latest, Revision, Revocation, Rows, Subject},
    *,
};
use crate::{
    StoreError, Timestamp,
    directory::AppProfile,
    ids::{KeyId, TenantId},
    keys::Key,
};

/// The system's clock, and the database's, at the node's start.
const EPOCH: u64 = 1_700_000_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A database that answers each read as it is told: after a time, or never.
struct Slow {
    begun: Instant,
    /// How long the next reads take; none: never. After those, like the last.
    takes: Mutex<VecDeque<Option<Duration>>>,
    number: AtomicU64,
    is_alone: bool,
    /// How far the system's clock went while the machine stood still.
    jumped_ms: AtomicU64,
    reads: AtomicU64,
}

impl Slow {
    fn new(takes: &[Option<Duration>], is_alone: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            takes: Mutex::new(takes.iter().copied().collect()),
            number: AtomicU64::new(3),
            is_alone,
            jumped_ms: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    fn answers_after(&self, takes: Option<Duration>) {
        *self.takes.lock().unwrap() = [takes].into();
    }
}

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH + self.jumped_ms.load(SeqCst)).after(self.begun.elapsed())
    }
}

#[async_trait]
impl Revocations for Slow {
    async fn revoke(&self, _: &Subject, _: Timestamp) -> Result<Option<Revision>, StoreError> {
        Ok(None)
    }
    async fn latest(&self) -> Result<Latest, StoreError> {
        Ok(Latest { revision: Revision(self.number.load(SeqCst)), now: self.now() })
    }
    async fn after(&self, known: Revision) -> Result<Rows, StoreError> {
        self.reads.fetch_add(1, SeqCst);
        let takes = {
            let mut takes = self.takes.lock().unwrap();
            if takes.len() > 1 { takes.pop_front().unwrap() } else { takes[0] }
        };
        let latest = self.latest().await?;
        match takes {
            Some(takes) => sleep(takes).await,
            None => pending().await,
        }
        let row = |number| Revocation {
            revision: Revision(number),
            subject: Subject::Tenant(TenantId::parse("ten_a").unwrap()),
            at: latest.now,
            until: latest.now.after(ms(3_600_000)),
        };
        let revocations = (known.0 + 1..=latest.revision.0).map(row).collect();
        Ok(Rows { latest, upto: latest.revision, revocations })
    }
    fn made_here(&self) -> Option<Revision> {
        self.is_alone.then(|| Revision(self.number.load(SeqCst)))
    }
    async fn suspend(&self, _: &TenantId, _: bool, _: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }
}

struct Nobody;

#[async_trait]
impl Directory for Nobody {
    async fn key(&self, _: &KeyId) -> Result<Option<Arc<Key>>, StoreError> {
        Ok(None)
    }
    async fn app(&self, _: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError> {
        Ok(None)
    }
    async fn forget_key(&self, _: &KeyId) {}
    async fn forget_app(&self, _: &AppId) {}
    async fn forget_all(&self) {}
    async fn doubt_all(&self) {}
}

struct Node {
    enforcement: Arc<Enforcement>,
    running: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Node {
    fn over(store: &Arc<Slow>) -> Self {
        let enforcement = Enforcement::new(store.clone(), Arc::new(Nobody), store.clone());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(enforcement.clone().run(stopped));
        Self { enforcement, running, _stop: stop }
    }

    /// Hears of a number that was read just now.
    fn hears(&self, store: &Slow, number: u64) {
        self.enforcement.heard(Beat { revision: Revision(number), at: store.now(), is_read: true });
    }

    /// Whether it is current in every tenth of a second of so long a time.
    async fn stays_current(&self, for_ms: u64) -> bool {
        for _ in 0..for_ms / 100 {
            sleep(ms(100)).await;
            if !self.enforcement.is_current() {
                return false;
            }
        }
        true
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_never_ends_keeps_no_other_from_beginning() {
    let store =
        Slow::new(&[Some(ms(5)), None, None, Some(ms(5)), None, Some(ms(5)), Some(ms(5)), None, Some(ms(5))], false);
    let node = Node::over(&store);
    sleep(ms(10)).await;
    assert!(node.stays_current(30_000).await);
    // So it is where some number is new.
    store.number.store(4, SeqCst);
    *store.takes.lock().unwrap() = [None, Some(ms(5))].into();
    node.hears(&store, 4);
    sleep(ms(300)).await;
    assert_eq!((node.enforcement.revision(), node.enforcement.is_current()), (Revision(4), true));
}

#[tokio::test(start_paused = true)]
async fn slow_reads_overlap_so_that_the_list_stays_current() {
    let store = Slow::new(&[Some(ms(600))], false);
    let node = Node::over(&store);
    sleep(ms(700)).await;
    assert!(node.stays_current(30_000).await);
}

#[tokio::test(start_paused = true)]
async fn while_no_read_ends_beats_keep_it_current_and_without_them_it_ends_within_a_second() {
    let store = Slow::new(&[Some(ms(5)), None], false);
    let node = Node::over(&store);
    for _ in 0..40 {
        node.hears(&store, 3);
        assert!(node.stays_current(400).await);
    }
    sleep(ms(700)).await;
    assert!(!node.enforcement.is_current());
    // It goes on trying, without end and without haste.
    let before = store.reads.load(SeqCst);
    sleep(ms(10_000)).await;
    let tried = store.reads.load(SeqCst) - before;
    assert!((10..=40).contains(&tried), "{tried} reads in 10 s");
    store.answers_after(Some(ms(5)));
    let asked = Instant::now();
    node.enforcement.current().await;
    assert!(asked.elapsed() <= ms(2_100), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn it_tells_for_how_long_it_has_not_known_whoever_asked_meanwhile() {
    let store = Slow::new(&[Some(ms(5)), None], false);
    let node = Node::over(&store);
    assert_eq!(node.enforcement.lapsed_for(), Duration::MAX, "nothing was read yet");
    sleep(ms(900)).await;
    assert_eq!(node.enforcement.lapsed_for(), Duration::ZERO);
    sleep(ms(1_600)).await;
    assert_eq!(node.enforcement.lapsed_for(), ms(1_500));
    sleep(ms(2_500)).await;
    assert_eq!(node.enforcement.lapsed_for(), ms(4_000));
    store.answers_after(Some(ms(5)));
    node.enforcement.current().await;
    assert_eq!(node.enforcement.lapsed_for(), Duration::ZERO);
    store.jumped_ms.store(60_000, SeqCst);
    assert_eq!(node.enforcement.lapsed_for(), Duration::ZERO, "it was found only now");
    assert!(!node.enforcement.is_current());
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_a_moment_from_when_it_was_missed_and_not_each_anew() {
    let store = Slow::new(&[Some(ms(5)), None], false);
    let node = Node::over(&store);
    sleep(ms(1_100)).await;
    let asked = Instant::now();
    assert!(node.enforcement.require_current().await.is_err());
    assert_eq!(asked.elapsed(), CALLER_PATIENCE);
    assert!(node.enforcement.require_current().await.is_err());
    assert_eq!(asked.elapsed(), CALLER_PATIENCE, "the next one is refused at once");
    store.answers_after(Some(ms(5)));
    node.enforcement.current().await;
    assert_eq!(node.enforcement.require_current().await.unwrap(), Revision(3));
}

#[tokio::test(start_paused = true)]
async fn who_revokes_waits_for_a_read_that_began_later() {
    let store = Slow::new(&[Some(ms(5)), Some(ms(200)), Some(ms(5))], false);
    let node = Node::over(&store);
    // The second read begins, and does not see what is made while it goes on.
    sleep(ms(600)).await;
    store.number.store(4, SeqCst);
    let told = node.enforcement.read_again().await.unwrap();
    assert_eq!((told.revision, node.enforcement.revision()), (Revision(4), Revision(4)));
    sleep(ms(500)).await;
    assert_eq!(node.enforcement.revision(), Revision(4), "what came late took nothing back");
}

#[tokio::test(start_paused = true)]
async fn a_read_during_which_the_machine_stood_still_confirms_nothing() {
    let store = Slow::new(&[Some(ms(5)), Some(ms(200)), None], false);
    let node = Node::over(&store);
    sleep(ms(600)).await;
    assert!(node.enforcement.is_current());
    store.jumped_ms.store(60_000, SeqCst);
    assert!(!node.enforcement.is_current());
    sleep(ms(300)).await;
    assert!(!node.enforcement.is_current(), "the read began before");
    store.answers_after(Some(ms(5)));
    node.enforcement.current().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_makes_every_revocation_itself_is_behind_only_from_one_to_its_reading() {
    let store = Slow::new(&[Some(ms(5))], true);
    let node = Node::over(&store);
    assert!(!node.enforcement.is_current(), "nothing was read yet");
    sleep(ms(10)).await;
    // It may be as slow as it likes, or stand still.
    advance(ms(60_000)).await;
    assert!(node.enforcement.is_current());
    store.jumped_ms.store(60_000, SeqCst);
    assert!(node.enforcement.is_current());
    let reads = store.reads.load(SeqCst);
    sleep(ms(20_000)).await;
    assert!(store.reads.load(SeqCst) <= reads + 1, "there is nothing to read");
    // One that cannot be read is missed a second later at the latest.
    store.answers_after(None);
    store.number.store(4, SeqCst);
    assert!(node.enforcement.read_again().await.is_none());
    assert!(!node.enforcement.is_current());
    store.answers_after(Some(ms(5)));
    node.enforcement.current().await;
    assert_eq!(node.enforcement.revision(), Revision(4));
}
