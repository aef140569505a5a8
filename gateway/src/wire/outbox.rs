//! The outbox: ready frames that wait for one client, bounded in bytes.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use fanfare_domain::metrics::Metric;

/// The outbox is over its bound: the client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Frames that wait for one client. Clones are the same outbox; all live on one thread.
#[derive(Clone)]
pub(crate) struct Outbox(Rc<RefCell<State>>);

struct State {
    frames: VecDeque<Queued>,
    /// Of everything but pages.
    bytes: usize,
    page_bytes: usize,
    limit: usize,
    phase: Phase,
    writer: Option<Waker>,
    reader: Option<Waker>,
    overflow_told: bool,
    room: Vec<Waker>,
}

struct Queued {
    frame: Bytes,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Must arrive; counts towards the bound.
    Durable,
    /// May be lost; counts towards the bound.
    Ephemeral,
    /// A page that the client asked for: one at a time, beside the bound, since asking is not reading slowly.
    Page,
}

/// What the reader of a socket must act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The outbox went over its bound; told once.
    Overflowed,
    /// The connection is ending.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Frames are taken.
    Open,
    /// It went over its bound; what waited was let go, and only the close is taken.
    Overflowed,
    /// The close frame is in; nothing is taken after it.
    Closing,
    /// The connection ends when the frames are written.
    Finished,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            frames: VecDeque::new(),
            bytes: 0,
            page_bytes: 0,
            limit,
            phase: Phase::Open,
            writer: None,
            reader: None,
            overflow_told: false,
            room: Vec::new(),
        })))
    }

    /// The bound of an authenticated connection.
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.0.borrow_mut().limit = bytes;
    }

    /// Queues a frame. Once more bytes wait than are allowed, all that waits is let go and the client is to be closed.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Full> {
        let mut state = self.0.borrow_mut();
        match state.phase {
            Phase::Open if state.bytes < state.limit => {
                state.queue(frame, Kind::Durable);
                Ok(())
            }
            Phase::Open => {
                state.overflow();
                Err(Full)
            }
            Phase::Overflowed => Err(Full),
            Phase::Closing | Phase::Finished => Ok(()),
        }
    }

    /// Queues a frame that may be lost: when too much waits, the oldest such frames go first.
    pub(crate) fn push_ephemeral(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase != Phase::Open {
            return;
        }
        let mut dropped = 0;
        while state.bytes + frame.len() > state.limit {
            let Some(oldest) = state.frames.iter().position(|queued| queued.kind == Kind::Ephemeral) else {
                Metric::Drops.add_labelled("ephemeral_overflow", dropped + 1);
                return;
            };
            state.forget(oldest);
            dropped += 1;
        }
        if dropped > 0 {
            Metric::Drops.add_labelled("ephemeral_overflow", dropped);
        }
        state.queue(frame, Kind::Ephemeral);
    }

    /// Queues a page that was waited for with [`Outbox::room_for_page`].
    pub(crate) fn push_page(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase == Phase::Open {
            state.queue(frame, Kind::Page);
        }
    }

    /// Queues a last frame before the close of an overflowed outbox; elsewhere like [`Outbox::push`].
    pub(crate) fn push_last(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase <= Phase::Overflowed {
            state.queue(frame, Kind::Durable);
        }
    }

    /// Queues the close frame; nothing is taken after it.
    pub(crate) fn close(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase < Phase::Closing {
            state.queue(frame, Kind::Durable);
            state.phase = Phase::Closing;
            state.wake_waiting();
        }
    }

    /// Ends the connection once what waits is written.
    pub(crate) fn finish(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Finished;
        state.wake_everyone();
    }

    /// Whether frames are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.0.borrow().phase == Phase::Open
    }

    /// Whether the close frame is in.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.borrow().phase >= Phase::Closing
    }

    /// Whether at least half of the bound is used, so that a backlog waits.
    pub(crate) fn is_half_full(&self) -> bool {
        let state = self.0.borrow();
        state.bytes >= state.limit / 2
    }

    /// Waits until less than a quarter of the bound is used, or nothing is taken any more.
    pub(crate) async fn room(&self) {
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if state.bytes <= state.limit / 4 || state.phase != Phase::Open {
                return Poll::Ready(());
            }
            state.room.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits until no page waits any more, or nothing is taken any more.
    pub(crate) async fn room_for_page(&self) {
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if state.page_bytes == 0 || state.phase != Phase::Open {
                return Poll::Ready(());
            }
            state.room.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits for news that the reader of the socket must act on.
    pub(crate) async fn news(&self) -> News {
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if state.phase == Phase::Finished {
                return Poll::Ready(News::Finished);
            }
            if state.phase == Phase::Overflowed && !state.overflow_told {
                state.overflow_told = true;
                return Poll::Ready(News::Overflowed);
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The body of the handshake's answer, which writes the frames.
    pub(super) fn body(&self) -> Body {
        Body(self.clone())
    }
}

impl State {
    fn queue(&mut self, frame: Bytes, kind: Kind) {
        *self.bytes_of(kind) += frame.len();
        Metric::OutboxBytes.shift(frame.len() as f64);
        self.frames.push_back(Queued { frame, kind });
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn bytes_of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Durable | Kind::Ephemeral => &mut self.bytes,
            Kind::Page => &mut self.page_bytes,
        }
    }

    fn forget(&mut self, at: usize) {
        if let Some(queued) = self.frames.remove(at) {
            self.left(&queued);
        }
    }

    /// Takes note of a frame that waits no more.
    fn left(&mut self, queued: &Queued) {
        *self.bytes_of(queued.kind) -= queued.frame.len();
        Metric::OutboxBytes.shift(-(queued.frame.len() as f64));
        if self.bytes <= self.limit / 4 || queued.kind == Kind::Page {
            self.wake_waiting();
        }
        if self.frames.is_empty() {
            // A burst must not leave its capacity behind.
            self.frames.shrink_to(8);
        }
    }

    fn forget_all(&mut self) {
        while let Some(queued) = self.frames.pop_front() {
            self.left(&queued);
        }
    }

    fn overflow(&mut self) {
        Metric::Drops.add_labelled("slow_consumer", self.frames.len() as u64 + 1);
        self.phase = Phase::Overflowed;
        self.forget_all();
        self.wake_everyone();
    }

    fn wake_waiting(&mut self) {
        self.room.drain(..).for_each(Waker::wake);
    }

    fn wake_everyone(&mut self) {
        self.wake_waiting();
        for waker in [self.writer.take(), self.reader.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// Writes an outbox's frames as the body of the handshake's answer.
pub(super) struct Body(Outbox);

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut state = self.0.0.borrow_mut();
        if let Some(queued) = state.frames.pop_front() {
            state.left(&queued);
            return Poll::Ready(Some(Ok(queued.frame)));
        }
        if state.phase == Phase::Finished {
            return Poll::Ready(None);
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.phase = Phase::Finished;
        state.forget_all();
        state.wake_everyone();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

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
    fn ephemeral_frames_are_dropped_oldest_first_and_never_displace_others() {
        let outbox = Outbox::new(10);
        outbox.push(frame(4)).unwrap();
        outbox.push_ephemeral(frame(3));
        outbox.push_ephemeral(frame(3));
        outbox.push_ephemeral(frame(5));
        let sizes: Vec<_> = outbox.0.borrow().frames.iter().map(|queued| queued.frame.len()).collect();
        assert_eq!(sizes, [4, 5]);
        outbox.push_ephemeral(frame(7));
        assert_eq!(written(&outbox), 1);
    }
}
