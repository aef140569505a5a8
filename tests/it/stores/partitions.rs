//! The number of partitions, on every engine.

use fanfare_domain::{
    ids::WorkerId,
    partitions::{Fence, Partitions},
};
use fanfare_infra::sql::SqlStore;

use super::engines;

pub async fn their_number_is_fixed_once(store: &SqlStore) {
    assert_eq!(store.partitions().await.unwrap(), None);
    let (one, other) = tokio::join!(store.fix_partitions(8), store.fix_partitions(8));
    assert_eq!((one.unwrap(), other.unwrap()), (8, 8));
    assert_eq!(store.fix_partitions(16).await.unwrap(), 8, "what was fixed first stands");
    assert_eq!(store.partitions().await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_file_has_one_that_its_process_owns() {
    let engine = engines::sqlite().await;
    let worker = WorkerId::generate();
    for _ in 0..2 {
        let held = engine.store.hold(&worker).await.unwrap();
        assert_eq!((&held.owned[..], held.share), (&[Fence { partition: 0, generation: 0 }][..], 1));
        engine.store.release(&worker, held.owned[0]).await.unwrap();
        engine.store.leave(&worker).await.unwrap();
    }
}
