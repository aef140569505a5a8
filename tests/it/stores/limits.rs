//! The contract of `AppLimits`.

use std::{num::NonZeroU32, time::Duration};

use fanfare_domain::{
    ids::AppId,
    limits::AppLimits,
    plans::{BATCH_ITEMS, Limits},
};
use fanfare_infra::memory::GovernorLimits;

mod allotters;
mod shared;

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

async fn a_second_of_publishes_may_come_at_once_and_no_more(limits: &dyn AppLimits) {
    let (app, plan) = (AppId::generate(), Limits { publishes_per_s: 2_000, ..Limits::default() });
    let quota = limits.publish(&app, &plan, count(1_500)).unwrap();
    assert_eq!(quota.limit, 2_000);
    assert!((500..=600).contains(&quota.remaining), "{quota:?}");
    let exceeded = limits.publish(&app, &plan, count(1_500)).unwrap_err();
    assert_eq!(exceeded.limit, 2_000);
    assert!(exceeded.retry_after > Duration::ZERO && exceeded.retry_after < Duration::from_secs(1), "{exceeded:?}");
    assert!(limits.publish(&AppId::generate(), &plan, count(1_500)).is_ok(), "apps do not share");
}

async fn the_largest_batch_passes_under_any_plan(limits: &dyn AppLimits) {
    let (app, plan) = (AppId::generate(), Limits { publishes_per_s: 10, ..Limits::default() });
    let batch = count(BATCH_ITEMS as u32);
    assert!(limits.publish(&app, &plan, batch).is_ok());
    let exceeded = limits.publish(&app, &plan, batch).unwrap_err();
    assert!(exceeded.retry_after > Duration::from_secs(90), "{exceeded:?}");
    assert!(limits.publish(&AppId::generate(), &plan, count(BATCH_ITEMS as u32 + 1)).is_err());
}

async fn a_changed_plan_takes_effect(limits: &dyn AppLimits) {
    let app = AppId::generate();
    let plan = |publishes_per_s| Limits { publishes_per_s, ..Limits::default() };
    limits.publish(&app, &plan(1_000), count(1_000)).unwrap();
    assert!(limits.publish(&app, &plan(1_000), count(500)).is_err());
    assert_eq!(limits.publish(&app, &plan(5_000), count(500)).unwrap().limit, 5_000);
    assert!(limits.publish(&app, &plan(0), count(1)).is_err());
}

async fn reads_of_history_have_a_rate_of_their_own(limits: &dyn AppLimits) {
    let app = AppId::generate();
    let plan = |history_reads_per_s| Limits { history_reads_per_s, ..Limits::default() };
    assert_eq!(limits.history(&app, &plan(1)).unwrap().limit, 1);
    let exceeded = limits.history(&app, &plan(1)).unwrap_err();
    assert_eq!(exceeded.limit, 1);
    assert!(exceeded.retry_after > Duration::ZERO && exceeded.retry_after <= Duration::from_secs(1), "{exceeded:?}");
    assert!(limits.history(&AppId::generate(), &plan(1)).is_ok(), "apps do not share");
    assert!(limits.publish(&app, &plan(1), count(1)).is_ok(), "publishes are counted apart");
    assert!(limits.history(&app, &plan(2)).is_ok(), "a changed plan takes effect");
    assert!(limits.history(&app, &plan(0)).is_err());
}

async fn a_closed_connection_gives_its_place_back(limits: &dyn AppLimits) {
    let (app, plan) = (AppId::generate(), Limits { connections: 2, ..Limits::default() });
    let (one, two) = (limits.connect(&app, &plan).await.unwrap(), limits.connect(&app, &plan).await.unwrap());
    assert_eq!(limits.connect(&app, &plan).await.unwrap_err().limit, 2);
    assert!(limits.connect(&AppId::generate(), &plan).await.is_ok());
    drop(one);
    let three = limits.connect(&app, &plan).await.unwrap();
    assert!(limits.connect(&app, &plan).await.is_err());
    drop((two, three));
    assert!(limits.connect(&app, &plan).await.is_ok());
}

hold_a_node_to! {
    fanfare_infra::memory::GovernorLimits::default();
    a_second_of_publishes_may_come_at_once_and_no_more
    the_largest_batch_passes_under_any_plan
    a_changed_plan_takes_effect
    reads_of_history_have_a_rate_of_their_own
    a_closed_connection_gives_its_place_back
}

#[tokio::test]
async fn an_app_without_connections_is_not_remembered() {
    let limits = GovernorLimits::default();
    let mut places = Vec::new();
    for _ in 0..100 {
        places.push(limits.connect(&AppId::generate(), &Limits::default()).await.unwrap());
    }
    assert_eq!(limits.remembered(), 100);
    drop(places);
    assert_eq!(limits.remembered(), 0);
}
