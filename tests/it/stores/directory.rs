//! The contract of `Directory`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    apps::Apps,
    capabilities::Capability,
    directory::Directory,
    ids::{AppId, KeyId},
    keys::{Key, Keys},
    plans::{Limits, Plans},
    rules::{Rule, Rules},
    stores::Page,
};
use fanfare_infra::{memory::CachedDirectory, sql::SqlStore};
use fanfare_protocol::Namespace;
use tokio::sync::{Semaphore, oneshot};

use super::{
    engines,
    samples::{NOW, channel, new_app},
};

fn over(store: &SqlStore, keys: Arc<dyn Keys>) -> CachedDirectory {
    let plans = Plans::new("default", Default::default()).unwrap();
    let store = Arc::new(store.clone());
    CachedDirectory::new(keys, store.clone(), store.clone(), store.clone(), store.clone(), store, Arc::new(plans))
}

async fn stored_key(store: &SqlStore) -> Key {
    let app = new_app(store).await;
    let key = Key::mint(app.id, "backend".to_owned(), Capability::everything(), None, NOW);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    key
}

#[tokio::test]
async fn a_key_is_remembered_until_it_is_forgotten() {
    let engine = engines::sqlite().await;
    let directory = over(&engine.store, Arc::new(engine.store.clone()));
    let key = stored_key(&engine.store).await;
    assert_eq!(directory.key(&key.id).await.unwrap().unwrap().app, key.app);
    Keys::remove(&engine.store, &key.app, &key.id).await.unwrap();
    assert!(directory.key(&key.id).await.unwrap().is_some());
    directory.forget_key(&key.id).await;
    assert!(directory.key(&key.id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_unknown_key_is_found_soon_after_it_appears() {
    let engine = engines::sqlite().await;
    let directory = over(&engine.store, Arc::new(engine.store.clone()));
    let app = new_app(&engine.store).await;
    let key = Key::mint(app.id, "backend".to_owned(), Capability::everything(), None, NOW);
    assert!(directory.key(&key.id).await.unwrap().is_none());
    Keys::insert(&engine.store, &key, u32::MAX).await.unwrap();
    assert!(directory.key(&key.id).await.unwrap().is_none(), "that it was unknown is remembered");
    let appears = async {
        while directory.key(&key.id).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), appears).await.unwrap();
}

#[tokio::test]
async fn an_app_comes_with_its_limits_and_rules() {
    let engine = engines::sqlite().await;
    let directory = over(&engine.store, Arc::new(engine.store.clone()));
    let app = new_app(&engine.store).await;
    let rule = Rule { public: true, ..Rule::default() };
    engine.store.put(&app.id, &Namespace::parse("chat").unwrap(), &rule, u32::MAX).await.unwrap();
    let profile = directory.app(&app.id).await.unwrap().unwrap();
    assert_eq!((&profile.app.name, &profile.limits), (&app.name, &Limits::default()));
    assert!(profile.rule(&channel("chat:1")).public && !profile.rule(&channel("lobby")).public);
    Rules::remove(&engine.store, &app.id, &Namespace::parse("chat").unwrap()).await.unwrap();
    directory.forget_app(&app.id).await;
    assert!(!directory.app(&app.id).await.unwrap().unwrap().rule(&channel("chat:1")).public);
    Apps::remove(&engine.store, &app.tenant, &app.id).await.unwrap();
    directory.forget_app(&app.id).await;
    assert!(directory.app(&app.id).await.unwrap().is_none());
    assert!(directory.app(&AppId::generate()).await.unwrap().is_none());
}

/// A store of one key, each read of which says that it has begun and then waits to be let through.
struct Gate {
    key: Mutex<Option<Key>>,
    begun: Semaphore,
    reads: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Gate {
    fn new(key: Key) -> Arc<Self> {
        Arc::new(Self { key: Mutex::new(Some(key)), begun: Semaphore::new(0), reads: Mutex::default() })
    }

    async fn read_begun(&self) -> oneshot::Sender<()> {
        let begun = tokio::time::timeout(Duration::from_secs(5), self.begun.acquire()).await;
        begun.expect("a read begins").unwrap().forget();
        self.reads.lock().unwrap().remove(0)
    }
}

fn not_asked_here<T>() -> Result<T, StoreError> {
    Err(StoreError::unavailable("the directory reads keys by id only"))
}

#[async_trait]
impl Keys for Gate {
    async fn find_by_id(&self, _key: &KeyId) -> Result<Option<Key>, StoreError> {
        let found = self.key.lock().unwrap().clone();
        let (go, gone) = oneshot::channel();
        self.reads.lock().unwrap().push(go);
        self.begun.add_permits(1);
        gone.await.map_err(StoreError::unavailable)?;
        Ok(found)
    }

    async fn insert(&self, _key: &Key, _most: u32) -> Result<(), StoreError> {
        not_asked_here()
    }

    async fn find(&self, _app: &AppId, _key: &KeyId) -> Result<Option<Key>, StoreError> {
        not_asked_here()
    }

    async fn list(&self, _app: &AppId, _page: &Page) -> Result<Vec<Key>, StoreError> {
        not_asked_here()
    }

    async fn rotate(
        &self,
        _app: &AppId,
        _key: &KeyId,
        _grace: Duration,
        _now: Timestamp,
    ) -> Result<Option<Key>, StoreError> {
        not_asked_here()
    }

    async fn remove(&self, _app: &AppId, _key: &KeyId) -> Result<bool, StoreError> {
        not_asked_here()
    }
}

#[tokio::test]
async fn all_who_ask_at_the_same_time_share_one_read() {
    let engine = engines::sqlite().await;
    let key = stored_key(&engine.store).await;
    let gate = Gate::new(key.clone());
    let directory = over(&engine.store, gate.clone());
    let askers: Vec<_> = (0..10)
        .map(|_| {
            let (directory, id) = (directory.clone(), key.id.clone());
            tokio::spawn(async move { directory.key(&id).await.unwrap().is_some() })
        })
        .collect();
    gate.read_begun().await.send(()).unwrap();
    for asker in askers {
        assert!(asker.await.unwrap());
    }
    assert_eq!(gate.begun.available_permits(), 0, "no second read was made");
}

#[tokio::test]
async fn a_read_begun_before_a_change_is_not_remembered_after_it() {
    let engine = engines::sqlite().await;
    let key = stored_key(&engine.store).await;
    let gate = Gate::new(key.clone());
    let directory = over(&engine.store, gate.clone());
    let ask = || {
        let (directory, id) = (directory.clone(), key.id.clone());
        tokio::spawn(async move { directory.key(&id).await.unwrap().is_some() })
    };
    let early = ask();
    let stale_read = gate.read_begun().await;
    *gate.key.lock().unwrap() = None;
    directory.forget_key(&key.id).await;
    let late = ask();
    let fresh_read = gate.read_begun().await;
    fresh_read.send(()).unwrap();
    assert!(!late.await.unwrap(), "who asks after the change sees the change");
    stale_read.send(()).unwrap();
    assert!(early.await.unwrap());
    assert!(directory.key(&key.id).await.unwrap().is_none(), "and the stale read does not come back");
}

#[tokio::test]
async fn a_failed_read_is_not_remembered() {
    let engine = engines::sqlite().await;
    let key = stored_key(&engine.store).await;
    let gate = Gate::new(key.clone());
    let directory = over(&engine.store, gate.clone());
    let ask = || {
        let (directory, id) = (directory.clone(), key.id.clone());
        tokio::spawn(async move { directory.key(&id).await })
    };
    let first = ask();
    drop(gate.read_begun().await);
    assert!(matches!(first.await.unwrap(), Err(StoreError::Unavailable(_))));
    let second = ask();
    gate.read_begun().await.send(()).unwrap();
    assert!(second.await.unwrap().unwrap().is_some());
}
