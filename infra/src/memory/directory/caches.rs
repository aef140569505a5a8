//! A cache that forgets for good: what was read before a `forget` never comes back after it. What was not forgotten outlasts an outage.

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
use tokio::time::timeout;

/// How stale what was found may be while it can be read afresh.
const FOUND_LIFE: Duration = Duration::from_secs(30);
/// How stale it may be that nothing was found, and how soon a source that was away is asked again.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long what was found last goes on being used while it cannot be read afresh.
const OUTAGE_LIFE: Duration = Duration::from_secs(3_600);
/// How long a fresh read is waited for where there is something older.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys share generations; a `forget` costs those that share one a fresh read.
const GENERATIONS: usize = 1_024;

/// Every entry belongs to the generation of its key at the time its read began. To forget a key is to begin a new
/// generation: older entries, and reads that are still under way, can no longer be reached.
#[derive(Clone)]
pub(super) struct Cache<K, V> {
    entries: moka::future::Cache<(K, Age), Entry<V>>,
    /// What was found last, of which generation; used only while the source is away.
    last_found: moka::sync::Cache<K, (u64, Arc<V>)>,
    generations: Arc<[AtomicU64]>,
    doubts: Arc<AtomicU64>,
    hasher: RandomState,
}

/// What a read must be younger than.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Age {
    generation: u64,
    doubts: u64,
}

struct Entry<V> {
    value: Option<Arc<V>>,
    life: Duration,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), life: self.life }
    }
}

struct Lives;

impl<K, V> Expiry<K, Entry<V>> for Lives {
    fn expire_after_create(&self, _key: &K, entry: &Entry<V>, _created_at: Instant) -> Option<Duration> {
        Some(entry.life)
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
            last_found: moka::sync::Cache::builder().max_capacity(most).time_to_live(OUTAGE_LIFE).build(),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            doubts: Arc::default(),
            hasher: RandomState::new(),
        }
    }

    /// The cached value, or what `read` gives; at the same time only one read is made for a key. While the source is away, what was
    /// found last stands.
    pub async fn get<R: Future<Output = Result<Option<V>, StoreError>>>(
        &self,
        key: &K,
        read: impl FnOnce() -> R,
    ) -> Result<Option<Arc<V>>, StoreError> {
        let age =
            Age { generation: self.generation(key).load(Ordering::SeqCst), doubts: self.doubts.load(Ordering::SeqCst) };
        let place = (key.clone(), age);
        // What is there is asked for with every request, and what reading takes is not put together for it.
        if let Some(entry) = self.entries.get(&place).await {
            return Ok(entry.value);
        }
        let fresh = self.entries.try_get_with(place, self.read(key, age.generation, read()));
        fresh.await.map(|entry| entry.value).map_err(|failure| failure.repeated())
    }

    async fn read(
        &self,
        key: &K,
        generation: u64,
        read: impl Future<Output = Result<Option<V>, StoreError>>,
    ) -> Result<Entry<V>, StoreError> {
        let older = self.last_found.get(key).filter(|(of, _)| *of == generation).map(|(_, value)| value);
        let outcome = match &older {
            Some(_) => timeout(PATIENCE, read).await.unwrap_or_else(|slow| Err(StoreError::unavailable(slow))),
            None => read.await,
        };
        match (outcome, older) {
            (Ok(Some(value)), _) => {
                let value = Arc::new(value);
                self.last_found.insert(key.clone(), (generation, Arc::clone(&value)));
                Ok(Entry { value: Some(value), life: FOUND_LIFE })
            }
            (Ok(None), _) => {
                self.last_found.invalidate(key);
                Ok(Entry { value: None, life: SHORT_LIFE })
            }
            (Err(StoreError::Unavailable(_)), Some(older)) => Ok(Entry { value: Some(older), life: SHORT_LIFE }),
            (Err(failure), _) => Err(failure),
        }
    }

    /// The next `get` reads afresh, and nothing older stands in for it.
    pub fn forget(&self, key: &K) {
        self.generation(key).fetch_add(1, Ordering::SeqCst);
    }

    /// The next `get` of every key reads afresh, and nothing older stands in for it.
    pub fn forget_all(&self) {
        for generation in self.generations.iter() {
            generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The next `get` of every key reads afresh, if that is possible.
    pub fn doubt_all(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }

    fn generation(&self, key: &K) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(key) % GENERATIONS as u64).expect("a remainder is small");
        &self.generations[hash]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn life(cache: &Cache<u8, u8>, outcome: Result<Option<u8>, StoreError>) -> (Option<u8>, Duration) {
        let entry = cache.read(&1, 0, std::future::ready(outcome)).await.unwrap();
        let life = Lives.expire_after_create(&(1, Age { generation: 0, doubts: 0 }), &entry, Instant::now());
        (entry.value.map(|value| *value), life.unwrap())
    }

    #[tokio::test]
    async fn nothing_is_used_for_more_than_30_s_without_asking_again() {
        let cache = Cache::new(10);
        assert_eq!(life(&cache, Ok(None)).await, (None, Duration::from_secs(1)));
        assert_eq!(life(&cache, Ok(Some(7))).await, (Some(7), Duration::from_secs(30)));
        let away = StoreError::unavailable("away");
        assert_eq!(life(&cache, Err(away)).await, (Some(7), Duration::from_secs(1)));
    }
}
