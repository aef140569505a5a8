//! Handshakes: bounded in time and number, and polite to who speaks plain HTTP.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_http::Protocol;
use fanfare_domain::metrics::Metric;
use fanfare_protocol::{ErrorCode, errors::Problem};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::Stream;
use crate::lingering::Lingering;

/// How long a connection may take from its first moment to the end of its handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes that are worked on at once; each holds buffers. The next ones wait, within their time.
const AT_ONCE: usize = 1_024;
/// Connections whose handshake is not done, those that have sent nothing yet included. One more is closed.
const UNFINISHED: usize = 16_384;
/// How a TLS connection begins: the type of a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The handshakes of one process.
pub(super) struct Handshakes {
    acceptor: TlsAcceptor,
    unfinished: AtomicUsize,
    turns: Semaphore,
}

/// Why there is no connection.
#[derive(Debug)]
enum Failure {
    /// It went away without a word, as those do that only look whether somebody listens.
    Silent,
    /// It speaks plain HTTP, and was told.
    PlainHttp,
    /// Anything else.
    Failed(io::Error),
}

impl Handshakes {
    pub(super) fn new(config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self { acceptor, unfinished: AtomicUsize::new(0), turns: Semaphore::new(AT_ONCE) }
    }

    pub(super) async fn accept(&self, connection: TcpStream) -> Option<(Stream, Protocol)> {
        let reason = match self.enter() {
            Some(_entry) => match timeout(PATIENCE, self.shake_hands(connection)).await {
                Ok(Ok(done)) => return Some(done),
                Ok(Err(Failure::Silent)) => return None,
                Ok(Err(Failure::PlainHttp)) => "plain_http",
                Ok(Err(Failure::Failed(error))) => {
                    debug!(%error, "A TLS handshake failed");
                    "failed"
                }
                Err(_) => "timeout",
            },
            None => "busy",
        };
        Metric::TlsHandshakeFailures.add_labelled(reason, 1);
        None
    }

    async fn shake_hands(&self, mut connection: TcpStream) -> Result<(Stream, Protocol), Failure> {
        let mut first = [0];
        // Who sends nothing takes no turn.
        match connection.peek(&mut first).await {
            Ok(1..) => {}
            _ => return Err(Failure::Silent),
        }
        if first[0] != HANDSHAKE_RECORD && first[0].is_ascii_uppercase() {
            tell_plain(&mut connection).await;
            end(connection).await;
            return Err(Failure::PlainHttp);
        }
        let turn = self.turns.acquire().await.expect("the semaphore is never closed");
        match self.acceptor.accept(connection).into_fallible().await {
            Ok(stream) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
                Ok((Stream::Tls(Box::new(stream.into())), protocol))
            }
            Err((error, connection)) => {
                drop(turn);
                // The alert that says why is on its way.
                end(connection).await;
                Err(Failure::Failed(error))
            }
        }
    }

    fn enter(&self) -> Option<Entry<'_>> {
        let entry = Entry(&self.unfinished);
        (self.unfinished.fetch_add(1, Ordering::Relaxed) < UNFINISHED).then_some(entry)
    }
}

/// A place among the unfinished, given back when dropped.
struct Entry<'a>(&'a AtomicUsize);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request that came without TLS, so that its sender knows why it came to nothing.
async fn tell_plain(connection: &mut TcpStream) {
    let problem = Problem::new(ErrorCode::TlsRequired, "plain HTTP came to a port that speaks TLS");
    let body = problem.to_json();
    let answer = format!(
        "HTTP/1.1 {} Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        problem.status,
        body.len(),
    );
    // Who does not take it learns nothing, and the connection ends all the same.
    let _ = connection.write_all(answer.as_bytes()).await;
}

/// Ends a connection so that what was written last arrives.
async fn end(connection: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = Lingering::new(connection).shutdown().await;
}
