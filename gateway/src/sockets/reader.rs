//! From a socket's messages to its actor's mailbox, one at a time, so that a mailbox never grows.

use std::sync::Arc;

use actix::Addr;
use bytes::Bytes;
use fanfare_domain::{Refusal, connections::Command};
use fanfare_protocol::{ErrorCode, websocket::Violation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Mail, SocketActor, What, too_slow};
use crate::wire::Listener;

pub(super) struct Reader {
    address: Addr<SocketActor>,
    places: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(address: Addr<SocketActor>, places: Arc<Semaphore>) -> Self {
        Self { address, places }
    }

    pub(super) async fn ended(&self) {
        self.mail(What::Ended, None).await;
    }

    async fn mail(&self, what: What, place: Option<OwnedSemaphorePermit>) {
        // An actor that has stopped needs no mail.
        let _ = self.address.send(Mail { what, place }).await;
    }
}

impl Listener for Reader {
    async fn text(&mut self, text: String) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        self.mail(What::Text(text), place).await;
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
