//! The contract of `Bus`.

use std::sync::Arc;

use fanfare_domain::bus::{Broadcast, Bus, Heard};
use fanfare_infra::memory::MemoryBus;

fn beats(numbers: std::ops::Range<u64>) -> Vec<Broadcast> {
    numbers.map(Broadcast::Beat).collect()
}

fn number(heard: Option<Heard>) -> u64 {
    match heard {
        Some(Heard::Sent(Broadcast::Beat(number))) => number,
        other => panic!("{other:?}"),
    }
}

async fn every_listener_receives_everything_in_order(bus: &impl Bus) {
    let (mut one, mut two) = (bus.listen().await.unwrap().heard, bus.listen().await.unwrap().heard);
    bus.send(beats(0..3)).await.unwrap();
    bus.send(beats(3..4)).await.unwrap();
    for expected in 0..4 {
        assert_eq!((number(one.recv().await), number(two.recv().await)), (expected, expected));
    }
}

async fn a_listener_hears_only_what_comes_after_it(bus: &impl Bus) {
    bus.send(beats(0..1)).await.unwrap();
    let mut late = bus.listen().await.unwrap().heard;
    bus.send(beats(1..2)).await.unwrap();
    assert_eq!(number(late.recv().await), 1);
}

async fn a_slow_listener_delays_the_sender_and_loses_nothing<B: Bus + 'static>(bus: Arc<B>, more_than_waits: u64) {
    let mut slow = bus.listen().await.unwrap().heard;
    let sender = tokio::spawn(async move { bus.send(beats(0..more_than_waits)).await });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!sender.is_finished());
    for expected in 0..more_than_waits {
        assert_eq!(number(slow.recv().await), expected);
    }
    sender.await.unwrap().unwrap();
}

async fn a_listener_that_went_away_holds_up_nobody(bus: &impl Bus, more_than_waits: u64) {
    let (gone, mut left) = (bus.listen().await.unwrap().heard, bus.listen().await.unwrap().heard);
    drop(gone);
    for expected in 0..more_than_waits {
        bus.send(beats(expected..expected + 1)).await.unwrap();
        assert_eq!(number(left.recv().await), expected);
    }
}

#[tokio::test]
async fn in_memory_every_listener_receives_everything_in_order() {
    every_listener_receives_everything_in_order(&MemoryBus::default()).await;
}

#[tokio::test]
async fn in_memory_a_listener_hears_only_what_comes_after_it() {
    a_listener_hears_only_what_comes_after_it(&MemoryBus::default()).await;
}

#[tokio::test]
async fn in_memory_a_slow_listener_delays_the_sender_and_loses_nothing() {
    a_slow_listener_delays_the_sender_and_loses_nothing(Arc::new(MemoryBus::new(4)), 20).await;
}

#[tokio::test]
async fn in_memory_a_listener_that_went_away_holds_up_nobody() {
    a_listener_that_went_away_holds_up_nobody(&MemoryBus::new(4), 20).await;
}
