//! Probes: what every engine answers while it can be written.

use fanfare_infra::sql::SqlStore;

pub async fn a_probe_can_be_repeated(store: &SqlStore) {
    for _ in 0..2 {
        store.probe_writing().await.unwrap();
    }
}
