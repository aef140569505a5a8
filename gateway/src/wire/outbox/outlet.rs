//! The end of an outbox from which a wire that is no WebSocket takes frames, whole and with their places.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Mark, Outbox, state::Phase};

/// Where frames leave an outbox. When it is dropped, the connection is over.
pub(crate) struct Outlet(Outbox);

/// A frame that has left.
pub(crate) struct Taken {
    /// The frame, as a WebSocket would carry it.
    pub(crate) frame: Bytes,
    /// The place that it brings the client to, if it is about one.
    pub(crate) mark: Option<Box<Mark>>,
}

impl Outlet {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self(outbox)
    }

    /// The first frame that is wanted; `None` once there is none and none will come.
    pub(crate) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        is_wanted: impl Fn(&Bytes) -> bool,
    ) -> Poll<Option<Taken>> {
        let mut state = self.0.0.borrow_mut();
        if let Some(queued) = state.take_first(is_wanted) {
            return Poll::Ready(Some(Taken { frame: queued.frame, mark: queued.mark }));
        }
        if state.phase == Phase::Finished {
            return Poll::Ready(None);
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for the first frame that is wanted.
    pub(crate) async fn take(&mut self, is_wanted: impl Fn(&Bytes) -> bool) -> Option<Taken> {
        poll_fn(|context| self.poll_take(context, &is_wanted)).await
    }

    /// Waits for any frame that may leave; whether there is one, or none will come.
    pub(crate) async fn filled(&mut self) -> bool {
        poll_fn(|context| {
            let mut state = self.0.0.borrow_mut();
            if state.next_to_leave(|_| true).is_some() || state.phase == Phase::Finished {
                return Poll::Ready(!state.frames.is_empty());
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Whether its client was cut off: nothing that was taken before may be handed to it any more.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.0.borrow().is_cut_off
    }

    /// Whether nothing leaves, on purpose.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.0.borrow().is_stalled()
    }

    /// The first frame, if one is there and it is wanted.
    pub(crate) fn take_now(&mut self, is_wanted: impl Fn(&Bytes) -> bool) -> Option<Taken> {
        let mut state = self.0.0.borrow_mut();
        let next = state.next_to_leave(|_| true)?;
        if !is_wanted(&state.frames[next].frame) {
            return None;
        }
        let queued = state.take_first(|_| true)?;
        Some(Taken { frame: queued.frame, mark: queued.mark })
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
