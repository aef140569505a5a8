//! The contract of `Keys`.

use std::time::Duration;

use fanfare_domain::{
    StoreError, Timestamp,
    accounts::Accounts,
    apps::{App, Apps},
    capabilities::Capability,
    keys::{Key, Keys},
    stores::Page,
};
use secrecy::ExposeSecret;

use super::samples::{NOW, new_app};

fn key(app: &App) -> Key {
    let capability = serde_json::from_str(r#"{"chat:*":["publish","history"]}"#).unwrap();
    Key::mint(app.id.clone(), "backend".to_owned(), capability, Some(Timestamp(NOW.0 + 5)), NOW)
}

pub async fn a_key_can_be_read_back(store: &(impl Accounts + Apps + Keys)) {
    let app = new_app(store).await;
    let key = key(&app);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    let found = Keys::find(store, &app.id, &key.id).await.unwrap().unwrap();
    assert_eq!((&found.id, &found.app, &found.name), (&key.id, &app.id, &key.name));
    assert_eq!((found.capability, found.expires_at, found.created_at), (key.capability, key.expires_at, NOW));
    assert_eq!(found.secret.expose_secret(), key.secret.expose_secret());
    assert!(found.previous.is_none());
    assert_eq!(store.find_by_id(&key.id).await.unwrap().unwrap().app, app.id);
}

pub async fn a_rotation_is_kept(store: &(impl Accounts + Apps + Keys)) {
    let app = new_app(store).await;
    let key = key(&app);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    let old = key.secret.clone();
    let rotate = async |grace| store.rotate(&app.id, &key.id, Duration::from_millis(grace), NOW).await.unwrap();
    let key = rotate(3).await.unwrap();
    let found = store.find_by_id(&key.id).await.unwrap().unwrap();
    assert!(found.accepts(&old, NOW) && found.accepts(&key.secret, NOW));
    assert!(!found.accepts(&old, Timestamp(NOW.0 + 3)) && found.accepts(&key.secret, Timestamp(NOW.0 + 3)));
    let again = rotate(0).await.unwrap();
    let found = store.find_by_id(&key.id).await.unwrap().unwrap();
    assert!(found.previous.is_none() && found.accepts(&again.secret, NOW) && !found.accepts(&key.secret, NOW));
}

pub async fn rotations_at_the_same_time_follow_one_another(store: &(impl Accounts + Apps + Keys)) {
    let app = new_app(store).await;
    let key = key(&app);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    let rotate = || store.rotate(&app.id, &key.id, Duration::from_millis(3), NOW);
    for _ in 0..10 {
        let (one, other) = tokio::join!(rotate(), rotate());
        let found = store.find_by_id(&key.id).await.unwrap().unwrap();
        for told in [one.unwrap().unwrap(), other.unwrap().unwrap()] {
            assert!(found.accepts(&told.secret, NOW), "a secret that somebody was told is dead");
        }
    }
}

pub async fn an_app_has_so_many_keys_however_many_come_at_once(store: &(impl Accounts + Apps + Keys)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let add = |app: &App| {
        let key = key(app);
        async move { Keys::insert(store, &key, 3).await }
    };
    let added = futures::future::join_all((0..8).map(|_| add(&app))).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
    assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(StoreError::Full(3)))), "{added:?}");
    add(&other).await.unwrap();
}

pub async fn keys_are_listed_by_id_page_by_page(store: &(impl Accounts + Apps + Keys)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    Keys::insert(store, &key(&other), u32::MAX).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let key = key(&app);
        Keys::insert(store, &key, u32::MAX).await.unwrap();
        ids.push(key.id);
    }
    ids.sort();
    let first = Keys::list(store, &app.id, &Page { after: None, limit: 2 }).await.unwrap();
    let after = first.last().map(|key| key.id.as_str().to_owned());
    let rest = Keys::list(store, &app.id, &Page { after, limit: 2 }).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert_eq!(first.into_iter().chain(rest).map(|key| key.id).collect::<Vec<_>>(), ids);
}

pub async fn another_app_neither_sees_nor_revokes_a_key(store: &(impl Accounts + Apps + Keys)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let key = Key::mint(app.id.clone(), "k".to_owned(), Capability::everything(), None, NOW);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    assert!(Keys::find(store, &other.id, &key.id).await.unwrap().is_none());
    assert!(!Keys::remove(store, &other.id, &key.id).await.unwrap());
    assert!(store.rotate(&other.id, &key.id, Duration::ZERO, NOW).await.unwrap().is_none());
    assert!(store.find_by_id(&key.id).await.unwrap().unwrap().accepts(&key.secret, NOW));
    assert!(Keys::remove(store, &app.id, &key.id).await.unwrap());
    assert!(!Keys::remove(store, &app.id, &key.id).await.unwrap());
    assert!(store.find_by_id(&key.id).await.unwrap().is_none());
}
