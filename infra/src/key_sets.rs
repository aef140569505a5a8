//! The key sets of signers: fetched from their URLs, kept, and fetched again when the domain's rule says so.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    Clock,
    ids::SignerId,
    metrics::Metric,
    signers::{Freshness, KeySet, KeySets, KeysAway, MAX_KEY_SET_BYTES, Step, VerifyingKey, Wanted},
};
use hyper::{HeaderMap, Method, StatusCode, header};
use tracing::{debug, warn};
use url::Url;

use crate::outbound::{Call, Outbound};

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// As many sets as are kept; those that are seldom asked for give way first.
const MAX_SETS: u64 = 20_000;
/// A set that nobody asked for this long is let go.
const IDLE: Duration = Duration::from_secs(86_400);

/// Sets fetched by outbound calls. Cheap to clone.
#[derive(Clone)]
pub struct FetchedKeySets {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    entries: moka::sync::Cache<SignerId, Arc<Entry>>,
}

/// What is kept of one signer's set.
#[derive(Default)]
struct Entry {
    kept: Mutex<Kept>,
    /// Held by the one fetch that is made at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    set: KeySet,
    freshness: Freshness,
}

impl FetchedKeySets {
    /// Sets that are fetched in this way.
    pub fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        let entries = moka::sync::Cache::builder().max_capacity(MAX_SETS).time_to_idle(IDLE).build();
        Self { outbound, clock, entries }
    }

    /// Fetches, unless somebody else just has.
    async fn refresh(self, signer: SignerId, url: String, entry: Arc<Entry>, wanted: Wanted) {
        let _turn = entry.fetching.lock().await;
        if matches!(entry.look(&wanted, self.clock.as_ref()).1, Step::Use | Step::Wait(_)) {
            return;
        }
        let fetched = self.fetch(&url).await;
        let now = self.clock.now();
        let mut kept = entry.kept();
        kept.freshness.fetched(fetched.is_ok(), now);
        match fetched {
            Ok(set) => {
                Metric::KeySetFetches.add_labelled("fetched", 1);
                debug!(signer.id = %signer, keys = set.len(), "Fetched the keys of signer `{signer}`");
                kept.set = set;
            }
            Err(why) => {
                Metric::KeySetFetches.add_labelled("failed", 1);
                warn!(signer.id = %signer, "The keys of signer `{signer}` could not be fetched: {why}");
                if kept.freshness.is_lost(now) {
                    kept.set = KeySet::default();
                }
            }
        }
    }

    async fn fetch(&self, url: &str) -> Result<KeySet, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let accept = header::HeaderValue::from_static("application/jwk-set+json, application/json");
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        let call = Call {
            method: Method::GET,
            url,
            headers,
            body: Default::default(),
            patience: PATIENCE,
            most_bytes: MAX_KEY_SET_BYTES,
        };
        let answer = self.outbound.call(call).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::OK => KeySet::parse(&answer.body).map_err(|error| error.to_string()),
            status if status.is_redirection() => Err(format!("it answered {status}, and redirects are not followed")),
            status => Err(format!("it answered {status}")),
        }
    }
}

impl Entry {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key, if the set has it, and what to do.
    fn look(&self, wanted: &Wanted, clock: &dyn Clock) -> (Option<Arc<VerifyingKey>>, Step) {
        let kept = self.kept();
        let key = kept.set.pick(wanted);
        let step = kept.freshness.step(key.is_some(), clock.now());
        (key, step)
    }
}

#[async_trait]
impl KeySets for FetchedKeySets {
    async fn key(&self, signer: &SignerId, url: &str, wanted: &Wanted) -> Result<Option<Arc<VerifyingKey>>, KeysAway> {
        let entry = self.entries.get_with(signer.clone(), Arc::default);
        let clock = self.clock.as_ref();
        let refresh = || {
            // Of its own, since who asked may go away: a fetch that was begun is ended, and counts.
            tokio::spawn(self.clone().refresh(signer.clone(), url.to_owned(), Arc::clone(&entry), wanted.clone()))
        };
        let (key, step) = match entry.look(wanted, clock) {
            (_, Step::Fetch) => {
                // It panics nowhere; if it did, what is kept decides.
                let _ = refresh().await;
                entry.look(wanted, clock)
            }
            (key, Step::UseAndRefresh) => {
                drop(refresh());
                (key, Step::Use)
            }
            settled => settled,
        };
        match step {
            Step::Use | Step::UseAndRefresh => Ok(key),
            Step::Wait(retry_after) => Err(KeysAway { retry_after }),
            // The first of all fetches lets another follow; the next token may cause it.
            Step::Fetch if !entry.kept().freshness.is_lost(clock.now()) => Ok(key),
            Step::Fetch => Err(KeysAway { retry_after: PATIENCE }),
        }
    }
}
