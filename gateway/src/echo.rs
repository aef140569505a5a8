//! `GET /test/echo`: sends every message back, over the very same socket code, for test suites of WebSocket servers.

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use fanfare_domain::Refusal;
use fanfare_protocol::{
    ErrorCode,
    websocket::{Violation, binary_frame, text_frame},
};

use crate::{
    accept,
    wire::{self, Listener, Outbox},
};

/// Room for the largest messages of test suites.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Echo every message.
#[get("/test/echo")]
pub(crate) async fn echo(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    match wire::open(&request, payload, MESSAGE_BYTES).await {
        Ok((response, mut inbound, outbox)) => {
            actix_rt::spawn(async move {
                let mut echo = Echo(outbox.clone());
                wire::drive(&mut inbound, &outbox, &mut echo).await;
                outbox.finish();
            });
            response
        }
        Err(error) => accept::refuse(&request, &Refusal::new(ErrorCode::BadRequest, error.to_string())),
    }
}

struct Echo(Outbox);

impl Echo {
    async fn send(&self, frame: Bytes) {
        self.0.room().await;
        // Room was waited for, so only a socket that is closing refuses.
        let _ = self.0.push(frame);
    }
}

impl Listener for Echo {
    fn message_bytes(&self) -> usize {
        MESSAGE_BYTES
    }

    async fn text(&mut self, text: String) {
        self.send(text_frame(text.as_bytes())).await;
    }

    async fn binary(&mut self, bytes: Bytes) {
        self.send(binary_frame(&bytes)).await;
    }

    async fn heard(&mut self) {}

    async fn violated(&mut self, _: &Violation) {}

    async fn overflowed(&mut self) {
        self.0.finish();
    }
}
