//! The engines under test, each with nothing in it.

use fanfare_infra::{
    sealing::{MasterKey, Sealer},
    sql::SqlStore,
};
use tempfile::TempDir;

use crate::harness::postgres;

/// A store, and what it stands on.
pub struct Engine<G> {
    pub store: SqlStore,
    _ground: G,
}

pub async fn sqlite() -> Engine<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open_sqlite(&folder.path().join("fanfare.db"), sealer()).await.unwrap();
    store.migrate().await.unwrap();
    Engine { store, _ground: folder }
}

pub async fn postgres() -> Engine<postgres::Database> {
    let database = postgres::database().await;
    let store = SqlStore::connect_postgres(&database.url, 16, sealer()).await.unwrap();
    store.migrate().await.unwrap();
    Engine { store, _ground: database }
}

pub fn sealer() -> Sealer {
    Sealer::new(&MasterKey::generate(), None)
}
