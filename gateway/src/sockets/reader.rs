//! From a socket's messages to its actor's mailbox, one at a time, so that a mailbox never grows.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix::Recipient;
use bytes::Bytes;
use fanfare_domain::{Refusal, connections::Command, plans::Limits};
use fanfare_protocol::{ErrorCode, websocket::Violation};
use futures::{FutureExt, future::LocalBoxFuture};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Mail, What, too_slow};
use crate::wire::Listener;

/// Requests of one connection that are worked on at once; nothing is read meanwhile.
const REQUESTS_AT_ONCE: usize = 64;
/// The largest message before the connection has a plan: a token with room for its envelope.
const MESSAGE_BYTES_BEFORE_CONNECT: usize = 16 * 1024;

/// Messages of this size are still read, so that their refusal can name their request.
const REFUSED_BYTES: usize = 1024 * 1024;
/// What a publish may have beside its data.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// On which terms a socket is read, which its actor sets and its reader obeys.
pub(crate) struct Terms {
    places: Arc<Semaphore>,
    message_bytes: Cell<usize>,
    is_admitted: Cell<bool>,
}

impl Default for Terms {
    /// Before `connect`: one small message at a time.
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(1)),
            message_bytes: Cell::new(MESSAGE_BYTES_BEFORE_CONNECT),
            is_admitted: Cell::new(false),
        }
    }
}

impl Terms {
    /// After `connect`: messages as large as a publish may be, with room for whitespace and an envelope.
    pub(crate) fn admit(&self, limits: &Limits) {
        self.message_bytes.set((2 * limits.message_bytes as usize).max(REFUSED_BYTES) + ENVELOPE_BYTES);
        self.is_admitted.set(true);
        self.places.add_permits(REQUESTS_AT_ONCE - 1);
    }
}

/// Reads a socket for its actor.
pub(crate) struct Reader {
    address: Recipient<Mail>,
    terms: Rc<Terms>,
}

impl Reader {
    pub(crate) fn new(address: Recipient<Mail>, terms: Rc<Terms>) -> Self {
        Self { address, terms }
    }

    pub(crate) async fn ended(&self) {
        self.mail(What::Ended, None).await;
    }

    /// Boxed, since a reader that waits for its client is not to have room for a letter. An actor that has stopped needs none.
    fn mail(&self, what: What, place: Option<OwnedSemaphorePermit>) -> LocalBoxFuture<'static, ()> {
        self.address.send(Mail { what, place }).map(drop).boxed_local()
    }
}

impl Listener for Reader {
    fn message_bytes(&self) -> usize {
        self.terms.message_bytes.get()
    }

    async fn text(&mut self, text: String) {
        let place = Arc::clone(&self.terms.places).acquire_owned().await.ok();
        self.mail(What::Text { text, is_paced: true }, place).await;
        if !self.terms.is_admitted.get() {
            // Until `connect` is answered its place is taken; what follows it is read on the terms that it brings.
            drop(self.terms.places.acquire().await);
        }
    }

    async fn binary(&mut self, _: Bytes) {
        self.mail(What::Command(Command::Binary), None).await;
    }

    async fn heard(&mut self) {
        self.mail(What::Command(Command::Heard), None).await;
    }

    async fn violated(&mut self, violation: &Violation) {
        let code = match violation {
            Violation::TooBig { .. } => ErrorCode::MessageTooLarge,
            Violation::Protocol(_) | Violation::InvalidUtf8 => ErrorCode::Malformed,
        };
        self.mail(What::Violated(Refusal::new(code, violation.to_string())), None).await;
    }

    async fn overflowed(&mut self) {
        self.mail(What::Command(Command::End(too_slow())), None).await;
    }
}
