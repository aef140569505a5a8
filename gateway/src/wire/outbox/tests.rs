//! Bounds, order of loss, and what is given back.

use std::task::{Context, Waker};

use fanfare_domain::{
    Clock,
    clock::SystemClock,
    deliveries::{Beginning, Ledger, Place},
    ids::{AppId, ConnectionId},
};
use fanfare_protocol::{ClientName, Epoch};
use futures::FutureExt;

use super::{state::CHUNK_BYTES, *};

struct Nobody;

impl std::task::Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn frame(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

fn written(outbox: &Outbox) -> usize {
    outbox.0.borrow().frames.len()
}

#[test]
fn past_its_bound_everything_is_let_go_and_only_the_close_is_taken() {
    let outbox = Outbox::new(10);
    assert_eq!(outbox.push(frame(8)), Ok(()));
    assert_eq!(outbox.push(frame(8)), Ok(()));
    assert_eq!(outbox.push(frame(1)), Err(Full));
    assert_eq!(written(&outbox), 0);
    assert_eq!(outbox.push(frame(1)), Err(Full));
    outbox.push_last(frame(2));
    outbox.close(frame(2));
    assert_eq!(outbox.push(frame(1)), Ok(()));
    assert_eq!(written(&outbox), 2);
}

#[test]
fn a_page_that_was_asked_for_leaves_the_bound_to_the_rest() {
    let outbox = Outbox::new(10);
    outbox.push_page(frame(1_000));
    assert_eq!(outbox.push(frame(9)), Ok(()));
    assert!(outbox.room_for_page().now_or_never().is_none());
    outbox.0.borrow_mut().forget(0);
    assert!(outbox.room_for_page().now_or_never().is_some());
}

#[test]
fn who_waits_again_and_again_waits_once() {
    let outbox = Outbox::new(10);
    outbox.push_page(frame(1));
    let mut waiting = std::pin::pin!(outbox.room_for_page());
    let waker = Waker::from(Arc::new(Nobody));
    let mut context = Context::from_waker(&waker);
    for _ in 0..1_000 {
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(outbox.0.borrow().room.len(), 1);
}

#[test]
fn a_large_frame_leaves_in_parts_and_whole() {
    let outbox = Outbox::new(10);
    outbox.push_page(frame(CHUNK_BYTES + 1));
    let sizes: Vec<_> = std::iter::from_fn(|| outbox.0.borrow_mut().take_chunk()).map(|chunk| chunk.len()).collect();
    assert_eq!(sizes, [CHUNK_BYTES, 1]);
    assert_eq!(outbox.0.borrow().page_bytes, 0);
}

#[test]
fn a_frame_that_has_begun_to_leave_is_never_cut() {
    let outbox = Outbox::new(CHUNK_BYTES * 4);
    outbox.push_ephemeral(frame(CHUNK_BYTES + 1), Leaving::Together);
    assert!(outbox.0.borrow_mut().take_chunk().is_some());
    outbox.push_ephemeral(frame(CHUNK_BYTES * 4 - 1), Leaving::Together);
    outbox.push_ephemeral(frame(CHUNK_BYTES * 4 - 1), Leaving::Together);
    let sizes: Vec<_> = outbox.0.borrow().frames.iter().map(|queued| queued.frame.len()).collect();
    assert_eq!(sizes, [1, CHUNK_BYTES * 4 - 1]);
    assert_eq!(outbox.push(frame(1)), Err(Full));
    assert_eq!(written(&outbox), 1);
}

#[test]
fn what_is_kept_is_given_back_when_the_body_ends() {
    let (outbox, kept) = (Outbox::new(10), Rc::new(()));
    outbox.keep(Box::new(Rc::clone(&kept)));
    drop(outbox.body());
    assert_eq!(Rc::strong_count(&kept), 1);
}

#[test]
fn ephemeral_frames_are_dropped_oldest_first_and_never_displace_others() {
    let outbox = Outbox::new(10);
    outbox.push(frame(4)).unwrap();
    outbox.push_ephemeral(frame(3), Leaving::Together);
    outbox.push_ephemeral(frame(3), Leaving::Together);
    outbox.push_ephemeral(frame(5), Leaving::Together);
    let sizes: Vec<_> = outbox.0.borrow().frames.iter().map(|queued| queued.frame.len()).collect();
    assert_eq!(sizes, [4, 5]);
    outbox.push_ephemeral(frame(7), Leaving::Together);
    assert_eq!(written(&outbox), 1);
}

#[test]
fn a_wire_that_asks_gets_whole_frames_with_their_places_and_picks_what_it_wants() {
    let channel = ChannelName::parse("chat:1").unwrap();
    let (outbox, mut outlet) = Outbox::marked(10);
    outbox.push_at(frame(4), Leaving::Together, (&channel, Serial(7)), None).unwrap();
    outbox.push(frame(1)).unwrap();
    let said = outlet.take(|frame| frame.len() == 1).now_or_never().flatten().unwrap();
    assert_eq!(said.mark, None);
    assert!(outlet.take_now(|frame| frame.len() == 1).is_none());
    let taken = outlet.take_now(|_| true).unwrap();
    assert_eq!(taken.mark.as_deref(), Some(&Mark { channel, serial: Serial(7), receipts: None }));
    assert_eq!((written(&outbox), outbox.0.borrow().bytes), (0, 0));
}

#[test]
fn a_socket_s_frames_carry_no_places() {
    let outbox = Outbox::new(10);
    outbox.push_at(frame(4), Leaving::Together, (&ChannelName::parse("chat:1").unwrap(), Serial(7)), None).unwrap();
    assert_eq!(outbox.0.borrow().frames[0].mark, None);
}

#[test]
fn an_outbox_without_an_outlet_takes_nothing_more() {
    let (outbox, outlet) = Outbox::marked(10);
    outbox.push(frame(4)).unwrap();
    drop(outlet);
    assert_eq!((written(&outbox), outbox.is_open()), (0, false));
    assert_eq!(outbox.news().now_or_never(), Some(News::Finished));
}

#[test]
fn who_takes_note_of_frames_hears_when_each_has_left_whole() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = Place {
        app: AppId::generate(),
        channel: ChannelName::parse("chat:1").unwrap(),
        client: ClientName::parse("ann").unwrap(),
    };
    let (channel, ledger) = (place.channel.clone(), Ledger::default());
    let (connection, epoch) = (ConnectionId::generate(), Epoch::new("e"));
    let beginning = Beginning { place, connection, transport: "websocket", epoch, from: Serial(6), is_late: false };
    let receipts = ledger.begin(beginning, clock.now());
    let written = || {
        receipts.hold(true);
        receipts.hold(false);
        ledger.take_urgent(1, clock.now()).courses.first().map(|(_, course)| course.written)
    };
    let outbox = Outbox::new(CHUNK_BYTES * 4);
    outbox.push_at(frame(CHUNK_BYTES + 1), Leaving::Together, (&channel, Serial(7)), Some(&receipts)).unwrap();
    outbox.push_at(frame(1), Leaving::Together, (&channel, Serial(8)), Some(&receipts)).unwrap();
    let take = || outbox.0.borrow_mut().take_chunk().is_some();
    assert!(take());
    assert_eq!(written(), Some(Serial(6)), "a part has left");
    assert!(take());
    assert_eq!(written(), Some(Serial(7)));
    assert!(take() && !take());
    assert_eq!(written(), Some(Serial(8)));
    outbox.push_at(frame(1), Leaving::Together, (&channel, Serial(9)), Some(&receipts)).unwrap();
    outbox.0.borrow_mut().overflow();
    assert_eq!(written(), Some(Serial(8)), "what is let go has not left");
}

#[test]
fn who_is_cut_off_gets_the_rest_of_what_has_begun_and_the_reason_and_nothing_else() {
    let outbox = Outbox::new(CHUNK_BYTES * 8);
    for _ in 0..3 {
        outbox.push_message(frame(CHUNK_BYTES + 1)).unwrap();
    }
    assert_eq!(outbox.0.borrow_mut().take_chunk().map(|chunk| chunk.len()), Some(CHUNK_BYTES));
    outbox.cut_off();
    assert!(outbox.is_cut_off() && !outbox.is_open());
    assert_eq!(outbox.push_message(frame(7)), Err(Full));
    outbox.push_ephemeral(frame(7), Leaving::Together);
    outbox.push_last(frame(2));
    outbox.close(frame(3));
    let mut left = Vec::new();
    while let Some(chunk) = outbox.0.borrow_mut().take_chunk() {
        left.push(chunk.len());
    }
    assert_eq!(left, [1, 2, 3]);
    assert!(outbox.news().now_or_never().is_none(), "it is no overflow");
}

#[test]
fn an_outlet_of_who_is_cut_off_knows_it_and_gives_the_reason_only() {
    let (outbox, mut outlet) = Outbox::marked(10);
    outbox.push_at(frame(4), Leaving::Together, (&ChannelName::parse("chat:1").unwrap(), Serial(7)), None).unwrap();
    assert!(!outlet.is_cut_off());
    outbox.cut_off();
    outbox.push_last(frame(2));
    assert!(outlet.is_cut_off());
    assert_eq!(outlet.take_now(|_| true).map(|taken| taken.frame.len()), Some(2));
    assert!(outlet.take_now(|_| true).is_none());
}

/// A gate that is told whether it is open.
#[derive(Default)]
struct Told(std::cell::Cell<bool>);

impl Gate for Told {
    fn is_open(&self) -> bool {
        self.0.get()
    }
}

fn left(outbox: &Outbox) -> Vec<usize> {
    let mut state = outbox.0.borrow_mut();
    std::iter::from_fn(|| state.take_chunk().map(|chunk| chunk.len())).collect()
}

#[test]
fn messages_wait_for_the_gate_and_what_keeps_the_connection_does_not_wait_for_them() {
    let (outbox, gate) = (Outbox::new(1_000), Rc::<Told>::default());
    outbox.guard(gate.clone());
    outbox.push(frame(1)).unwrap();
    outbox.push_message(frame(2)).unwrap();
    outbox.push(frame(3)).unwrap();
    outbox.push_ephemeral(frame(4), Leaving::Together);
    outbox.push_prompt(frame(5)).unwrap();
    assert_eq!(left(&outbox), [1, 5], "an answer that was there before keeps its place");
    gate.0.set(true);
    assert_eq!(left(&outbox), [2, 3, 4]);
}

#[test]
fn a_message_that_has_begun_to_leave_goes_on_though_the_gate_shuts() {
    let (outbox, gate) = (Outbox::new(CHUNK_BYTES * 8), Rc::<Told>::default());
    outbox.guard(gate.clone());
    gate.0.set(true);
    outbox.push_message(frame(CHUNK_BYTES + 1)).unwrap();
    outbox.push_message(frame(7)).unwrap();
    assert_eq!(outbox.0.borrow_mut().take_chunk().map(|chunk| chunk.len()), Some(CHUNK_BYTES));
    gate.0.set(false);
    outbox.push_prompt(frame(5)).unwrap();
    assert_eq!(left(&outbox), [1, 5]);
    // The end does not wait for the gate.
    outbox.push_last(frame(3));
    outbox.close(frame(4));
    assert_eq!(left(&outbox), [3, 4]);
    assert_eq!(outbox.0.borrow().frames.len(), 0);
}

#[test]
fn an_outlet_gives_what_may_leave() {
    let (outbox, mut outlet) = Outbox::marked(1_000);
    let gate = Rc::<Told>::default();
    outbox.guard(gate.clone());
    outbox.push_message(frame(2)).unwrap();
    assert!(outlet.filled().now_or_never().is_none() && outlet.take_now(|_| true).is_none());
    outbox.push_prompt(frame(5)).unwrap();
    assert_eq!(outlet.filled().now_or_never(), Some(true));
    assert_eq!(outlet.take_now(|_| true).map(|taken| taken.frame.len()), Some(5));
    gate.0.set(true);
    outbox.go_on();
    assert_eq!(outlet.take_now(|_| true).map(|taken| taken.frame.len()), Some(2));
}
