//! A cache that forgets for good: what was read before a `forget` never comes back after it.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_domain::StoreError;
use moka::Expiry;

/// How stale what was found may be.
const FOUND_LIFE: Duration = Duration::from_secs(30);
/// How stale it may be that nothing was found.
const MISSING_LIFE: Duration = Duration::from_secs(1);
/// Keys share generations; a `forget` costs those that share one a fresh read.
const GENERATIONS: usize = 1_024;

/// Every entry belongs to the generation of its key at the time its read began. To forget a key is to begin a new
/// generation: older entries, and reads that are still under way, can no longer be reached.
#[derive(Clone)]
pub(super) struct Cache<K, V> {
    entries: moka::future::Cache<(K, u64), Option<Arc<V>>>,
    generations: Arc<[AtomicU64]>,
    hasher: RandomState,
}

struct Lives;

impl<K, V> Expiry<K, Option<V>> for Lives {
    fn expire_after_create(&self, _key: &K, value: &Option<V>, _created_at: Instant) -> Option<Duration> {
        Some(if value.is_some() { FOUND_LIFE } else { MISSING_LIFE })
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A cache of at most so many entries; those that are seldom asked for give way first.
    pub fn new(most: u64) -> Self {
        Self {
            entries: moka::future::Cache::builder().max_capacity(most).expire_after(Lives).build(),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The cached value, or what `read` gives; at the same time only one read is made for a key.
    pub async fn get(
        &self,
        key: &K,
        read: impl Future<Output = Result<Option<V>, StoreError>>,
    ) -> Result<Option<Arc<V>>, StoreError> {
        let generation = self.generation(key).load(Ordering::SeqCst);
        let read = async { read.await.map(|found| found.map(Arc::new)) };
        self.entries.try_get_with((key.clone(), generation), read).await.map_err(shared)
    }

    /// The next `get` reads afresh.
    pub fn forget(&self, key: &K) {
        self.generation(key).fetch_add(1, Ordering::SeqCst);
    }

    fn generation(&self, key: &K) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(key) % GENERATIONS as u64).expect("a remainder is small");
        &self.generations[hash]
    }
}

/// One failed read is the failure of everybody who waited for it.
fn shared(failure: Arc<StoreError>) -> StoreError {
    match &*failure {
        StoreError::Conflict => StoreError::Conflict,
        StoreError::Rejected(why) => StoreError::Rejected(why.clone()),
        StoreError::Fenced => StoreError::Fenced,
        StoreError::Full(most) => StoreError::Full(*most),
        StoreError::Corrupt(what) => StoreError::Corrupt(what.clone()),
        StoreError::Unavailable(_) => StoreError::unavailable(failure),
    }
}
