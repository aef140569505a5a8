//! Streams that end without losing what was written last.
//!
//! A TCP connection that is closed with unread data in it is reset, and a reset can overtake what was written before: the close
//! frame that says why, or the refusal of a body that was too large. So the end of ours is told at once, and what still comes
//! is taken and dropped until the peer ends too, for a moment at most.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long the peer has to end its side.
const LINGER: Duration = Duration::from_secs(1);
/// How much is dropped at a time.
const SCRATCH_BYTES: usize = 4 * 1024;

/// A stream whose shutdown lingers.
pub struct Lingering<S> {
    stream: S,
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    /// A stream that is open.
    pub fn new(stream: S) -> Self {
        Self { stream, end: None }
    }

    /// The stream, which ends at once from now on.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let end = this.end.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scratch = [0; SCRATCH_BYTES];
        while end.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The peer has ended, or is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    use super::*;

    async fn pair() -> (Lingering<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Lingering::new(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn the_end_is_told_before_the_peer_ends_and_nothing_is_lost_to_a_reset() {
        let (mut ours, mut peer) = pair().await;
        peer.write_all(&[7; 64 * 1024]).await.unwrap();
        ours.write_all(b"why").await.unwrap();
        let ending = tokio::spawn(async move { ours.shutdown().await });
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"why");
        peer.write_all(&[7; 64 * 1024]).await.unwrap();
        assert!(!ending.is_finished());
        drop(peer);
        ending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_never_ends_is_left() {
        let (mut ours, _peer) = pair().await;
        let begun = Instant::now();
        ours.shutdown().await.unwrap();
        assert!(begun.elapsed() >= LINGER);
    }
}
