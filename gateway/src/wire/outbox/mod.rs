//! The outbox: ready frames that wait for one client, bounded in bytes.

use std::{
    any::Any,
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use fanfare_domain::{deliveries::Receipts, metrics::Metric};
use fanfare_protocol::{ChannelName, Serial};
use tokio::sync::OwnedMutexGuard;

mod accounts;
mod body;
mod outlet;
mod state;

pub(crate) use accounts::{Account, Accounts};
use body::Body;
pub(crate) use outlet::{Outlet, Taken};
pub(crate) use state::{CHUNK_BYTES, Mark};
use state::{Kind, Phase, State};

use super::direct::Raw;
use crate::faults::Faults;

/// Decides whether what comes of channels may leave now.
pub(crate) trait Gate {
    /// Whether it may.
    fn is_open(&self) -> bool;

    /// What goes wrong on purpose where frames leave.
    fn faults(&self) -> Option<&Faults> {
        None
    }
}

/// The outbox is over its bound: the client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Frames that leave in one write at most.
const FRAMES_A_WRITE: usize = 64;
/// How long what waits may still take once the connection is ending.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Frames that wait for one client. Clones are the same outbox; all live on one thread.
#[derive(Clone)]
pub(crate) struct Outbox(Rc<RefCell<State>>);

/// How what comes of a channel leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Before this returns, if nothing else waits and the wire takes it: nobody has to be woken for it.
    AtOnce,
    /// With what is queued next, in one write.
    Together,
}

/// What the reader of a socket must act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The outbox went over its bound; told once.
    Overflowed,
    /// The connection is ending.
    Finished,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Self(Rc::new(RefCell::new(State::new(limit))))
    }

    /// An outbox that is never full.
    pub(crate) fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    /// An outbox for a wire that is no WebSocket: it takes whole frames, with the places that they bring its client to.
    pub(crate) fn marked(limit: usize) -> (Self, Outlet) {
        let outbox = Self::new(limit);
        outbox.0.borrow_mut().is_marked = true;
        let outlet = Outlet::new(outbox.clone());
        (outbox, outlet)
    }

    /// Where what nothing waits before may be written at once.
    pub(super) fn write_through(&self, wire: Raw) {
        self.0.borrow_mut().wire = Some(wire);
    }

    /// Sets the gate that messages leave through.
    pub(crate) fn guard(&self, gate: Rc<dyn Gate>) {
        self.0.borrow_mut().gate = Some(gate);
    }

    /// Has the writer look again: the gate is open.
    pub(crate) fn go_on(&self) {
        if let Some(writer) = self.0.borrow_mut().writer.take() {
            writer.wake();
        }
    }

    /// Lets everything go that waits, but for the rest of a frame that has begun to leave; from now on only the reason and the close
    /// are taken.
    pub(crate) fn cut_off(&self) {
        let mut state = self.0.borrow_mut();
        if state.phase <= Phase::Overflowed {
            state.phase = Phase::Overflowed;
            // It is no overflow: the reader has nothing to tell.
            state.overflow_told = true;
            state.is_cut_off = true;
            state.forget_unbegun();
            state.wake_everyone();
        }
    }

    /// Keeps something for as long as bytes may still leave: it is dropped when the connection's last write is over.
    pub(crate) fn keep(&self, what: Box<dyn Any>) {
        self.0.borrow_mut().kept.push(what);
    }

    /// Waits for the turn to read a backlog: one page at a time is held for a socket, however many channels it resumes.
    pub(crate) async fn backlog_turn(&self) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(&self.0.borrow().backlog_turn);
        turn.lock_owned().await
    }

    /// The bound of an authenticated connection, and its app's account of what waits for all of them.
    pub(crate) fn admit(&self, bytes: usize, account: Arc<Account>) {
        let mut state = self.0.borrow_mut();
        state.limit = bytes;
        state.join(account);
    }

    /// Queues a frame. Once more bytes wait than are allowed, all that waits is let go and the client is to be closed.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Full> {
        self.push_with(frame, Kind::Durable, || None)
    }

    /// Queues what does not wait for messages that may not leave now; else like [`Outbox::push`].
    pub(crate) fn push_prompt(&self, frame: Bytes) -> Result<(), Full> {
        self.push_with(frame, Kind::Prompt, || None)
    }

    /// Queues what comes of a channel, which leaves only through the gate; else like [`Outbox::push`].
    pub(crate) fn push_message(&self, frame: Bytes) -> Result<(), Full> {
        self.push_with(frame, Kind::Message, || None)
    }

    /// The same with a frame that brings the client to a serial of a channel, of which some take note once it has left.
    pub(crate) fn push_at(
        &self,
        frame: Bytes,
        leaving: Leaving,
        (channel, serial): (&ChannelName, Serial),
        receipts: Option<&Arc<Receipts>>,
    ) -> Result<(), Full> {
        let is_wanted = receipts.is_some() || self.0.borrow().is_marked;
        let mark = || Box::new(Mark { channel: channel.clone(), serial, receipts: receipts.cloned() });
        let leaves_at_once = leaving == Leaving::AtOnce && !is_wanted;
        if leaves_at_once && self.0.borrow_mut().leave_at_once(&frame, Kind::Message) {
            return Ok(());
        }
        let is_doubled = self.0.borrow().faults().is_some_and(Faults::duplicates);
        let double = is_doubled.then(|| frame.clone());
        self.push_with(frame, Kind::Message, || is_wanted.then(mark))?;
        double.map_or(Ok(()), |frame| self.push_with(frame, Kind::Message, || None))
    }

    fn push_with(&self, frame: Bytes, kind: Kind, mark: impl FnOnce() -> Option<Box<Mark>>) -> Result<(), Full> {
        let mut state = self.0.borrow_mut();
        match state.phase {
            Phase::Open if state.bytes < state.limit && state.is_admitted(frame.len()) => {
                state.queue_marked(frame, kind, mark());
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

    /// Whether a frame may leave without the writer, by its wire.
    pub(crate) fn writes_at_once(&self) -> bool {
        self.0.borrow().writes_at_once()
    }

    /// Queues a frame that may be lost: when too much waits, the oldest such frames go first.
    pub(crate) fn push_ephemeral(&self, frame: Bytes, leaving: Leaving) {
        let mut state = self.0.borrow_mut();
        if state.phase != Phase::Open || (leaving == Leaving::AtOnce && state.leave_at_once(&frame, Kind::Ephemeral)) {
            return;
        }
        let mut dropped = 0;
        while state.bytes + frame.len() > state.limit || !state.is_admitted(frame.len()) {
            let Some(oldest) = state.oldest_ephemeral() else {
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
            // What may not leave now cannot leave before the end.
            if !state.is_gate_open() {
                state.forget_held();
            }
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

    /// Ends the connection once what waits is written, or after a moment if the client does not take it.
    pub(crate) fn finish(&self) {
        let mut state = self.0.borrow_mut();
        if state.phase == Phase::Finished {
            return;
        }
        state.phase = Phase::Finished;
        state.wake_everyone();
        if !state.frames.is_empty() {
            let outbox = self.clone();
            actix_rt::spawn(async move {
                actix_rt::time::sleep(LAST_WRITES).await;
                let mut state = outbox.0.borrow_mut();
                state.forget_all();
                state.wake_everyone();
            });
        }
    }

    /// Cuts the connection, without a close.
    pub(crate) fn cut(&self) {
        self.abandon();
    }

    /// Nothing can leave any more: what waits is let go, and what was kept for the connection is given back.
    pub(super) fn abandon(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Finished;
        state.forget_all();
        state.wake_everyone();
        let kept = std::mem::take(&mut state.kept);
        drop(state);
        drop(kept);
    }

    /// Whether frames are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.0.borrow().phase == Phase::Open
    }

    /// Whether nothing but the reason and the close is taken.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.borrow().phase == Phase::Overflowed
    }

    /// Whether the close frame is in.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.borrow().phase >= Phase::Closing
    }

    /// Whether at least half of the bound is used, or anything while much waits for the app's other connections, so that a backlog waits.
    pub(crate) fn is_half_full(&self) -> bool {
        let state = self.0.borrow();
        state.bytes >= state.limit / 2 || (state.bytes > 0 && state.is_pressed())
    }

    /// Waits until less than a quarter of the bound is used, and nothing while much waits for the app's other connections; or nothing is taken
    /// any more.
    pub(crate) async fn room(&self) {
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            let has_room = state.bytes == 0 || (state.bytes <= state.limit / 4 && !state.is_pressed());
            if has_room || state.phase != Phase::Open {
                return Poll::Ready(());
            }
            state.wait_for_room(context.waker());
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
            state.wait_for_room(context.waker());
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

    /// Writes what may leave, as much at a time as `write` takes; ready once it is finished and nothing waits, or `write` fails.
    pub(crate) fn poll_write_to(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        loop {
            let ready = state.ready_to_leave();
            if ready == 0 {
                if state.phase == Phase::Finished {
                    return Poll::Ready(Ok(()));
                }
                state.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            let mut slices = [IoSlice::new(&[]); FRAMES_A_WRITE];
            let frames = state.frames.iter().take(ready);
            let filled =
                slices.iter_mut().zip(frames).map(|(slice, queued)| *slice = IoSlice::new(&queued.frame)).count();
            match write(context, &slices[..filled]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => state.written(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    state.blocked = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Has the writer woken at the end, while it waits for the wire.
    pub(super) fn wait_for_wire(&self, waker: &Waker) {
        self.0.borrow_mut().blocked = Some(waker.clone());
    }

    /// The body of the handshake's answer, which writes the frames.
    pub(super) fn body(&self) -> Body {
        Body(self.clone())
    }
}

#[cfg(test)]
mod tests;
