//! What is fixed once for an installation, and the one partition of a file.

use fanfare_domain::{
    ids::WorkerId,
    partitions::{Fence, Partitions},
};
use fanfare_infra::sql::{Installation, SqlStore};

use super::engines;

fn installation(partitions: u16, prefix: &str) -> Installation {
    Installation { partitions, names: prefix.parse().unwrap() }
}

pub async fn their_number_and_the_prefix_are_fixed_once(store: &SqlStore) {
    assert_eq!(store.installation().await.unwrap(), None);
    let wanted = [installation(8, "acme"), installation(4, "other")];
    let (one, other) = tokio::join!(store.fix(wanted[0].clone()), store.fix(wanted[1].clone()));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one == other && wanted.contains(&one), "whoever is first fixes all of it: {one:?} {other:?}");
    let late = store.fix(installation(16, "late")).await.unwrap();
    assert_eq!(late, one, "what was fixed first stands");
    assert_eq!(store.installation().await.unwrap(), Some(one));
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
