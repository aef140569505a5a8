//! A trace that several nodes share through one Redis.

use std::sync::Arc;

use fanfare_infra::{
    names::Names,
    redis::{Redis, SharedTrace},
};

use super::*;
use crate::harness::{redis, waiting::until};

/// A node that shares its trace with those on the same Redis.
pub fn node(url: &str, name: &str) -> Arc<dyn DeliveryTrace> {
    SharedTrace::new(Redis::connect(url, Names::default()).unwrap(), name)
}

#[tokio::test]
async fn nodes_read_each_others_courses_and_know_who_is_lost() {
    let server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let (ann, bob) = (place(&app, "chat", "ann"), place(&app, "chat", "bob"));
    one.begin(&app, NOW).await.unwrap();
    let (_open, ended) = (ledger.begin(beginning(&ann, 1), NOW), ledger.begin(beginning(&bob, 1), NOW));
    ended.end(End::UNSUBSCRIBED, NOW);
    tell(&*one, &ledger, NOW).await;
    let alive = async |place: &Place| read(&*two, place).await.courses[0].1;
    assert!(alive(&ann).await);
    // As if the node had not told anything for too long.
    assert_eq!(server.ask(&["del", "ff:e:n:{one}"]).await, "1");
    assert!(!alive(&ann).await);
    assert_eq!(read(&*two, &bob).await.courses[0].0.end.as_ref().unwrap().reason, End::UNSUBSCRIBED);
    tell(&*one, &ledger, later(1)).await;
    assert!(alive(&ann).await, "it tells that it is alive even if it has nothing else to tell");
    assert_eq!(read(&*two, &ann).await.gaps.len(), 1);
    one.retire().await.unwrap();
    assert_eq!(read(&*two, &ann).await.gaps, [], "a node that has ended has told everything");
    two.forget(&app).await.unwrap();
    assert_eq!(server.ask(&["keys", "ff:e:[cor]:*"]).await, "", "nothing is left");
}

#[tokio::test]
async fn a_redis_that_has_forgotten_is_told_anew_and_the_trace_reaches_back_to_then() {
    let mut server = redis::server().await;
    let trace = node(&server.url(), "one");
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let ann = place(&app, "chat", "ann");
    trace.begin(&app, NOW).await.unwrap();
    let _open = ledger.begin(beginning(&ann, 1), NOW);
    tell(&*trace, &ledger, NOW).await;
    server.engine().kill9().await;
    until("it is away", async || {
        let lot = ledger.take_urgent(usize::MAX, later(1));
        let failed = trace.write(&lot, later(1)).await.is_err();
        ledger.give_back(lot);
        failed.then_some(())
    })
    .await;
    server.engine().restart().await;
    until("it is back, and was told to be doubted", async || {
        let lot = ledger.take_urgent(usize::MAX, later(60));
        match trace.write(&lot, later(60)).await {
            Ok(memory) => {
                ledger.settle(lot);
                assert_eq!(memory, Memory::Doubtful);
                Some(())
            }
            Err(_) => {
                ledger.give_back(lot);
                None
            }
        }
    })
    .await;
    ledger.tell_anew();
    tell(&*trace, &ledger, later(61)).await;
    let message = MessageId::parse("msg_none").unwrap();
    // Not at once: other nodes may not have told yet.
    let kept = until("it may be read", async || trace.read(&ann, &message, later(61)).await.ok()).await;
    assert_eq!((kept.courses.len(), kept.reaches_back_to >= later(60)), (1, true), "{kept:?}");
}

#[tokio::test]
async fn a_cluster_of_redis_keeps_a_trace_and_its_bounds() {
    let cluster = redis::cluster().await;
    let trace = node(&cluster.url(), "one");
    super::of_one_client_the_oldest_courses_go_first_and_that_is_noted_for_it_alone(&*trace).await;
    super::of_an_app_the_oldest_courses_go_first(&*trace).await;
}
