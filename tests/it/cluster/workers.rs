//! A worker goes: its partitions are taken over, with nothing lost, doubled or reordered.

use std::time::{Duration, Instant};

use super::*;

/// Enough channels that both workers own some of them.
const CHANNELS: u64 = 12;

/// What happens to a worker, and how long delivery may wait for it.
async fn taken_over(limit: Duration, happen: impl AsyncFnOnce(&mut Server), after: impl AsyncFnOnce(&mut Server)) {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let channels: Vec<_> = (0..CHANNELS).map(|n| format!("chat:{n}")).collect();
    for channel in &channels {
        socket.subscribe(channel).await;
        publish_numbers(&fleet, &tenant, channel, 1..=3).await;
    }
    happen(&mut fleet.workers[0]).await;
    let begun = Instant::now();
    for channel in &channels {
        publish_numbers(&fleet, &tenant, channel, 4..=6).await;
    }
    let mut next = std::collections::HashMap::new();
    let mut last = Duration::ZERO;
    for message in socket.messages(6 * channels.len()).await {
        let expected = next.entry(message["channel"].to_string()).or_insert(1);
        assert_eq!((&message["serial"], &message["data"]), (&json!(*expected), &json!(*expected)), "{message}");
        *expected += 1;
        last = begun.elapsed();
    }
    assert!(last < limit, "the last message came after {last:?}");
    after(&mut fleet.workers[0]).await;
    for channel in &channels {
        publish_numbers(&fleet, &tenant, channel, 7..=8).await;
    }
    for _ in 0..2 * CHANNELS {
        let message = socket.event_of("message").await;
        let expected = next.entry(message["channel"].to_string()).or_insert(1);
        assert_eq!(message["serial"], *expected, "{message}");
        *expected += 1;
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_is_replaced_once_its_lease_is_over() {
    taken_over(Duration::from_secs(10), async |worker| worker.kill9().await, async |worker| worker.restart().await)
        .await;
}

#[tokio::test]
async fn a_worker_that_ends_hands_over_at_once() {
    let end = async |worker: &mut Server| assert!(worker.terminate().await.success());
    taken_over(Duration::from_secs(5), end, async |worker| worker.restart().await).await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_is_replaced_and_writes_nothing_when_it_goes_on() {
    taken_over(Duration::from_secs(18), async |worker| worker.stop(), async |worker| worker.cont()).await;
}
