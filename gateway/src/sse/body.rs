//! The body of a stream of events: the outbox's frames, each written as an event when its turn comes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use fanfare_domain::connections::Command;
use fanfare_protocol::websocket::text_of;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::events;
use crate::{
    sockets::Mail,
    streams::{Stream, said},
    wire::{CHUNK_BYTES, Taken},
};

/// How often a comment is sent.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Writes a stream's events.
pub(super) struct Body {
    stream: Stream,
    /// What is written and has not left.
    text: BytesMut,
    comments: Interval,
    /// Channels that are still delivered.
    channels: usize,
    is_over: bool,
}

impl Body {
    pub(super) fn new(stream: Stream) -> Self {
        let mut text = BytesMut::new();
        events::open(&stream, &mut text);
        let mut comments = interval_at(tokio::time::Instant::now() + COMMENT_EVERY, COMMENT_EVERY);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { channels: stream.started.len(), stream, text, comments, is_over: false }
    }

    /// The client takes what it is sent: that is its sign of life.
    fn heard(&self) {
        // A mailbox that is full has no need of it.
        let _ = self.stream.address.try_send(Mail::new(Command::Heard));
    }

    fn write(&mut self, taken: Taken) {
        let Some(object) = text_of(&taken.frame) else {
            self.is_over = true;
            return;
        };
        let moved = taken.mark.is_some_and(|mark| self.stream.positions.advance(&mark).is_some());
        match said::op(&object) {
            None => {}
            Some("ping") => self.heard(),
            Some(op) => {
                let cursor = moved.then(|| self.stream.positions.cursor());
                events::pass(&mut self.text, op, cursor.as_deref(), &object);
                if op == "unsubscribed" {
                    self.channels -= 1;
                    self.is_over = self.channels == 0;
                }
            }
        }
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        loop {
            if !self.text.is_empty() {
                let length = self.text.len().min(CHUNK_BYTES);
                let chunk = self.text.split_to(length).freeze();
                if self.text.is_empty() {
                    // What one large event needed is not kept.
                    self.text = BytesMut::new();
                }
                return Poll::Ready(Some(Ok(chunk)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if self.comments.poll_tick(context).is_ready() && !self.stream.outlet.is_stalled() {
                self.text.extend_from_slice(events::COMMENT);
                self.heard();
            }
            match self.stream.outlet.poll_take(context, |_| true) {
                Poll::Ready(Some(taken)) => self.write(taken),
                Poll::Ready(None) => self.is_over = true,
                Poll::Pending if self.text.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
            while !self.is_over && self.text.len() < CHUNK_BYTES {
                let Some(taken) = self.stream.outlet.take_now(|_| true) else { break };
                self.write(taken);
            }
        }
    }
}
