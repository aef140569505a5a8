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
    bytes: usize,
    limit: usize,
    phase: Phase,
    writer: Option<Waker>,
    reader: Option<Waker>,
    overflow_told: bool,
    room: Vec<Waker>,
}

struct Queued {
    frame: Bytes,
    ephemeral: bool,
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
                state.queue(frame, false);
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
            let Some(oldest) = state.frames.iter().position(|queued| queued.ephemeral) else {
                Metric::Drops.add_labelled("ephemeral_overflow", dropped + 1);
                return;
            };
            state.forget(oldest);
            dropped += 1;
        }
        if dropped > 0 {
            Metric::Drops.add_labelled("ephemeral_overflow", dropped);
        }
        state.queue(frame, true);
    }

    /// Queues a last frame before the close of an overflowed outbox; elsewhere like [`Outbox::push`].
    pub(crate) fn push_last(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase <= Phase::Overflowed {
            state.queue(frame, false);
        }
    }

    /// Queues the close frame; nothing is taken after it.
    pub(crate) fn close(&self, frame: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.phase < Phase::Closing {
            state.queue(frame, false);
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
    fn queue(&mut self, frame: Bytes, ephemeral: bool) {
        self.bytes += frame.len();
        Metric::OutboxBytes.shift(frame.len() as f64);
        self.frames.push_back(Queued { frame, ephemeral });
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn forget(&mut self, at: usize) {
        if let Some(queued) = self.frames.remove(at) {
            self.shrink(queued.frame.len());
        }
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        Metric::OutboxBytes.shift(-(bytes as f64));
        if self.bytes <= self.limit / 4 {
            self.wake_waiting();
        }
        if self.frames.is_empty() {
            // A burst must not leave its capacity behind.
            self.frames.shrink_to(8);
        }
    }

    fn overflow(&mut self) {
        Metric::Drops.add_labelled("slow_consumer", self.frames.len() as u64 + 1);
        self.phase = Phase::Overflowed;
        self.frames.clear();
        self.shrink(self.bytes);
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
            state.shrink(queued.frame.len());
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
        state.frames.clear();
        let waiting = state.bytes;
        state.shrink(waiting);
        state.wake_everyone();
    }
}

#[cfg(test)]
mod tests {
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
