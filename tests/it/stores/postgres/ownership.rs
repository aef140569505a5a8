//! Who owns which partition of the queue.

use std::collections::BTreeSet;

use fanfare_domain::{
    ids::WorkerId,
    partitions::{Fence, Holdings, Partitions},
};
use fanfare_infra::{
    names::Names,
    sql::{Installation, SqlStore},
};

use super::{execute, fix, session, store};
use crate::harness::postgres::Database;

async fn with_partitions(count: u16) -> (SqlStore, Database) {
    let (store, database) = store().await;
    fix(&store, count).await;
    (store, database)
}

#[tokio::test]
async fn who_fixed_the_partitions_before_there_were_prefixes_has_the_default_one() {
    let (store, database) = store().await;
    execute(&mut session(&database).await, "insert into settings (name, value) values ('partitions', '8')").await;
    let fixed = Installation { partitions: 8, names: Names::default() };
    assert_eq!(store.installation().await.unwrap(), Some(fixed.clone()));
    let another = Installation { partitions: 8, names: "acme".parse().unwrap() };
    assert_eq!(store.fix(another).await.unwrap(), fixed);
    assert_eq!(store.installation().await.unwrap(), Some(fixed));
}

/// So many workers, sorted by id, who have said once that they are alive.
async fn workers<const COUNT: usize>(store: &SqlStore) -> [WorkerId; COUNT] {
    let mut workers = std::array::from_fn(|_| WorkerId::generate());
    workers.sort();
    for worker in &workers {
        store.hold(worker).await.unwrap();
    }
    workers
}

fn numbers(holdings: &Holdings) -> Vec<u16> {
    holdings.owned.iter().map(|fence| fence.partition).collect()
}

/// Gives back what is beyond the share, then holds again.
async fn settle(store: &SqlStore, worker: &WorkerId) -> Holdings {
    let holdings = store.hold(worker).await.unwrap();
    for fence in holdings.owned.iter().skip(holdings.share) {
        store.release(worker, *fence).await.unwrap();
    }
    store.hold(worker).await.unwrap()
}

async fn end_lease(database: &Database, worker: &WorkerId) {
    execute(&mut session(database).await, &format!("update workers set lease_until = 1 where id = '{worker}'")).await;
}

#[tokio::test]
async fn the_first_worker_takes_all_and_shares_with_those_who_come() {
    let (store, _database) = with_partitions(7).await;
    let first = WorkerId::parse("wrk_a").unwrap();
    let alone = store.hold(&first).await.unwrap();
    assert_eq!((numbers(&alone), alone.share), ((0..7).collect(), 7));
    assert!(alone.owned.iter().all(|fence| fence.generation == 1));
    assert_eq!(store.hold(&first).await.unwrap(), alone, "a renewal changes nothing");

    let [second, third] = ["wrk_b", "wrk_c"].map(|id| WorkerId::parse(id).unwrap());
    for newcomer in [&second, &third] {
        assert_eq!(store.hold(newcomer).await.unwrap().owned, [], "nothing is free yet");
    }
    let held = settle(&store, &first).await;
    assert_eq!((numbers(&held), held.share), (vec![0, 1, 2], 3), "what is left over goes to the lowest ids");
    let held = store.hold(&second).await.unwrap();
    assert_eq!((numbers(&held), held.share), (vec![3, 4], 2));
    let held = store.hold(&third).await.unwrap();
    assert_eq!((numbers(&held), held.share), (vec![5, 6], 2));
    assert!(held.owned.iter().all(|fence| fence.generation == 2), "each change of hands counts");
}

#[tokio::test]
async fn partitions_are_taken_over_after_a_lease_and_not_before() {
    let (store, database) = with_partitions(4).await;
    let (first, second) = (WorkerId::parse("wrk_a").unwrap(), WorkerId::parse("wrk_b").unwrap());
    let old = store.hold(&first).await.unwrap();
    assert_eq!(store.hold(&second).await.unwrap().owned, []);
    end_lease(&database, &first).await;
    let held = store.hold(&second).await.unwrap();
    assert_eq!((numbers(&held), held.share), ((0..4).collect(), 4));
    assert!(held.owned.iter().all(|fence| fence.generation == 2));

    let back = store.hold(&first).await.unwrap();
    assert_eq!((back.owned, back.share), (vec![], 2), "what was taken over is lost");
    store.release(&first, old.owned[0]).await.unwrap();
    assert_eq!(store.hold(&second).await.unwrap().owned, held.owned, "only its owner gives a partition back");
}

#[tokio::test]
async fn a_lease_that_ended_unnoticed_is_renewed() {
    let (store, database) = with_partitions(4).await;
    let [worker] = workers(&store).await;
    end_lease(&database, &worker).await;
    let held = store.hold(&worker).await.unwrap();
    assert!(held.owned.len() == 4 && held.owned.iter().all(|fence| fence.generation == 1), "{held:?}");
}

#[tokio::test]
async fn a_worker_whose_lease_was_found_ended_comes_back_with_nothing_of_before() {
    let (store, database) = with_partitions(4).await;
    let (first, second) = (WorkerId::parse("wrk_a").unwrap(), WorkerId::parse("wrk_b").unwrap());
    store.hold(&second).await.unwrap();
    store.hold(&first).await.unwrap();
    let before = settle(&store, &second).await;
    assert_eq!(store.hold(&first).await.unwrap().owned.len(), 2);
    // Found ended by one who has its share already and takes no more.
    execute(&mut session(&database).await, "delete from workers where id = 'wrk_a'").await;
    let back = store.hold(&first).await.unwrap();
    assert!(back.owned.iter().all(|fence| fence.generation == 3), "{back:?}");
    assert_eq!(store.hold(&second).await.unwrap().owned, before.owned);
}

#[tokio::test]
async fn whoever_leaves_gives_everything_back_at_once() {
    let (store, _database) = with_partitions(4).await;
    let (first, second) = (WorkerId::parse("wrk_a").unwrap(), WorkerId::parse("wrk_b").unwrap());
    store.hold(&first).await.unwrap();
    store.hold(&second).await.unwrap();
    store.leave(&first).await.unwrap();
    let held = store.hold(&second).await.unwrap();
    assert_eq!((held.owned.len(), held.share), (4, 4));
}

#[tokio::test]
async fn workers_that_hold_at_the_same_time_never_own_the_same() {
    const PARTITIONS: u16 = 30;
    let (store, _database) = with_partitions(PARTITIONS).await;
    let workers: [WorkerId; 4] = workers(&store).await;
    let racers = workers.map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                settle(&store, &worker).await;
            }
            worker
        })
    });
    let mut all = Vec::new();
    for racer in racers {
        let worker = racer.await.unwrap();
        settle(&store, &worker).await;
        all.push(worker);
    }
    let mut owned = Vec::new();
    for worker in &all {
        let held = store.hold(worker).await.unwrap();
        assert_eq!(held.owned.len(), held.share);
        owned.extend(numbers(&held));
    }
    assert_eq!(owned.len(), usize::from(PARTITIONS));
    assert_eq!(owned.into_iter().collect::<BTreeSet<_>>(), (0..PARTITIONS).collect());
}

#[tokio::test]
async fn a_partition_whose_last_owner_still_appends_is_passed_over() {
    let (store, database) = with_partitions(2).await;
    let (first, second) = (WorkerId::parse("wrk_a").unwrap(), WorkerId::parse("wrk_b").unwrap());
    store.hold(&first).await.unwrap();
    let mut append = session(&database).await;
    execute(&mut append, "begin; select from partitions where id = 0 for share").await;
    end_lease(&database, &first).await;
    assert_eq!(numbers(&store.hold(&second).await.unwrap()), [1]);
    execute(&mut append, "commit").await;
    let held = store.hold(&second).await.unwrap();
    assert_eq!(held.owned[0], Fence { partition: 0, generation: 2 });
}
