//! RFC 6455 to the letter, octet by octet: the families of the Autobahn suite as tables, against `/test/echo`.

use crate::harness::{
    raw::{Frame, Out, Raw},
    server::{Options, Server},
};

mod closes;
mod controls;
mod echoes;
mod framing;
mod handshakes;
mod texts;

/// A server with `/test/echo`.
async fn server() -> Server {
    Server::start(Options::default().env("FANFARE_TEST_ENDPOINTS", "true")).await
}

/// A socket that sends every message back.
async fn echo(server: &Server) -> Raw {
    Raw::open(server.url(), "/test/echo").await
}

/// Holds what comes for these frames to a list, and then to an end in good order with a close code.
async fn expect(server: &Server, what: &str, sent: &[Out], before: &[Frame], code: u16) {
    let mut socket = echo(server).await;
    socket.send(sent).await;
    let came = socket.closed().await;
    assert_eq!(came, (before.to_vec(), Some(code)), "{what}: {sent:?}");
}

/// A close in good order, which ends every conversation that broke no rule.
fn bye() -> Out {
    Out::close(1000, "")
}
