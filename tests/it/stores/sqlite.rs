//! What only SQLite promises: the disk, the lock on its folder, and secrets that the file does not tell.

use std::{fs, os::unix::fs::PermissionsExt};

use fanfare_domain::{
    apps::Apps,
    capabilities::Capability,
    history::MessageLog,
    keys::{Key, Keys},
};
use fanfare_infra::{
    data_dir::{DataDir, DataDirError},
    sealing::{BadMasterKey, MasterKey, Sealer},
    sql::{MasterKeyError, SqlStore},
};
use fanfare_protocol::{Serial, requests::Range};
use secrecy::ExposeSecret;

use super::{
    engines,
    samples::{DAY_S, NOW, channel, message, new_app},
};

#[tokio::test]
async fn a_commit_is_on_disk_when_it_returns() {
    let engine = engines::sqlite().await;
    let settings = engine.store.sqlite_settings().await.unwrap().expect("this is SQLite");
    assert_eq!((settings.synchronous, settings.journal_mode.as_str()), (2, "wal"));
}

#[tokio::test]
async fn every_probe_reaches_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open_sqlite(&folder.path().join("fanfare.db"), engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    for _ in 0..3 {
        let journal = || fs::read(folder.path().join("fanfare.db-wal")).unwrap();
        let before = journal();
        store.probe_writing().await.unwrap();
        assert_ne!(journal(), before);
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.db");
    let sealer = engines::sealer();
    let first = SqlStore::open_sqlite(&file, sealer.clone()).await.unwrap();
    first.migrate().await.unwrap();
    let app = new_app(&first).await;
    first.append(None, &[message(&app, "a", "1")]).await.unwrap();
    drop(first);
    let second = SqlStore::open_sqlite(&file, sealer).await.unwrap();
    second.migrate().await.unwrap();
    assert_eq!(Apps::find(&second, &app.id).await.unwrap().unwrap().epoch, app.epoch);
    assert_eq!(second.head(&app.id, &channel("a")).await.unwrap().unwrap().serial, Serial(1));
}

#[tokio::test]
async fn a_caller_who_stops_waiting_leaves_no_work_half_done() {
    let engine = engines::sqlite().await;
    let app = new_app(&engine.store).await;
    for _ in 0..20 {
        let batch = [message(&app, "a", "1")];
        let mut append = engine.store.append(None, &batch);
        assert!(futures::poll!(append.as_mut()).is_pending());
        drop(append);
    }
    engine.store.append(None, &[message(&app, "a", "1")]).await.unwrap();
    let visible = fanfare_domain::history::Visible {
        retention: fanfare_domain::rules::Retention { retention_s: DAY_S, max_messages: None },
        now: NOW,
    };
    let page = engine.store.read(&app.id, &channel("a"), Range::After(Serial(0)), 100, visible).await.unwrap().unwrap();
    assert_eq!(page.items.len(), 21);
}

#[tokio::test]
async fn the_file_is_its_owners_and_tells_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.db");
    let store = SqlStore::open_sqlite(&file, engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    let app = new_app(&store).await;
    let key = Key::mint(app.id.clone(), "backend".to_owned(), Capability::everything(), None, NOW);
    Keys::insert(&store, &key, u32::MAX).await.unwrap();
    let secret = key.secret.expose_secret().as_bytes();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test]
async fn another_master_key_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.db");
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let with = async |sealer: Sealer| {
        let store = SqlStore::open_sqlite(&file, sealer).await.unwrap();
        store.migrate().await.unwrap();
        store.check_master_key().await
    };
    let first = Sealer::new(&old, None);
    with(first.clone()).await.unwrap();
    with(first.clone()).await.unwrap();
    with(Sealer::new(&new, Some(&old))).await.unwrap();
    match with(Sealer::new(&new, None)).await {
        Err(MasterKeyError::Differs { given, needed }) => {
            assert_eq!((given, needed), (Sealer::new(&new, None).key_id(), first.key_id()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_data_folder_has_one_owner_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/data");
    let first = DataDir::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = DataDir::open(&path).unwrap_err();
    assert!(matches!(refused, DataDirError::InUse(_)));
    assert!(refused.to_string().contains(path.to_str().unwrap()));
    drop(first);
    DataDir::open(&path).unwrap();
}

#[test]
fn the_master_key_is_made_once_and_refused_when_others_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let id = |key: &MasterKey| Sealer::new(key, None).key_id();
    let made = MasterKey::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(id(&MasterKey::load_or_create(&path).unwrap()), id(&made));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(MasterKey::load_or_create(&path), Err(BadMasterKey::Exposed { mode: 0o640, .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "not a key").unwrap();
    assert!(matches!(MasterKey::load_or_create(&path), Err(BadMasterKey::MalformedFile(_))));
}
