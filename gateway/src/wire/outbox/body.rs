//! The writing half of a socket: an outbox as the body of the handshake's answer.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::{Outbox, state::Phase};

/// Writes an outbox's frames as the body of the handshake's answer.
pub(in crate::wire) struct Body(pub(super) Outbox);

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut state = self.0.0.borrow_mut();
        if let Some(chunk) = state.take_chunk() {
            return Poll::Ready(Some(Ok(chunk)));
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
        self.0.abandon();
    }
}
