//! What is not taken is told again, also after a restart.

use std::time::{Duration, Instant};

use super::{of_channel, start_private};
use crate::harness::{waiting::until, webhooks::Receiver};

#[tokio::test]
async fn what_is_refused_or_not_answered_in_time_is_told_again_fresh_and_redirects_are_not_followed() {
    let (_server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &["channel_occupied"]).await;
    receiver.answer(&[500, 404, 302, 0]);
    let mut ann = tenant.join("ann").await;
    ann.subscribe("a").await;
    assert_eq!(receiver.events("/", 1).await, [of_channel("channel_occupied", "a")]);
    let received = receiver.received();
    assert_eq!(
        received.iter().map(|one| one.status).collect::<Vec<_>>(),
        [Some(500), Some(404), Some(302), None, Some(200)]
    );
    assert!(received.iter().all(|one| one.path == "/"), "{received:?}");
    // The time for an answer begins before the request arrives.
    let pauses: Vec<_> = received.windows(2).map(|two| (two[1].at - two[0].at).as_millis()).collect();
    for (pause, least) in pauses.iter().zip([1_000, 2_000, 4_000, 11_500]) {
        assert!((least..least + 3_000).contains(pause), "{pauses:?}");
    }
    for request in &received {
        request.verify(&tenant);
    }
    let time =
        |at: usize| serde_json::from_str::<serde_json::Value>(&received[at].body).expect("JSON")["time_ms"].as_u64();
    assert!(time(4) > time(0), "each time is that of its sending");
}

#[tokio::test]
async fn a_slow_address_delays_nobody_elses() {
    let (_server, tenant) = start_private().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.always(Some(0));
    tenant.webhook(&slow.url("/"), &["channel_occupied"]).await;
    tenant.webhook(&quick.url("/"), &["channel_occupied"]).await;
    let mut ann = tenant.join("ann").await;
    for n in 0..40 {
        ann.subscribe(&format!("c-{n}")).await;
    }
    let begun = Instant::now();
    quick.events("/", 40).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!((1..=8).contains(&slow.received().len()), "{}", slow.received().len());
}

#[tokio::test]
async fn what_was_not_taken_before_a_crash_is_told_after_it() {
    let (mut server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    receiver.always(Some(503));
    tenant.webhook(&receiver.url("/"), &["channel_occupied", "channel_vacated"]).await;
    let mut ann = tenant.join("ann").await;
    ann.subscribe("a").await;
    until("it was tried", async || (!receiver.received().is_empty()).then_some(())).await;
    server.kill9().await;
    receiver.always(None);
    server.restart().await;
    // The channel is empty since its node was killed, which nobody noted.
    let told = receiver.events("/", 2).await;
    assert_eq!(told, [of_channel("channel_occupied", "a"), of_channel("channel_vacated", "a")]);
}
