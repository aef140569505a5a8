//! Streams that fail once nothing has moved on them for some time.
//!
//! The HTTP server bounds the wait for a connection's first request and for the next one to begin. It does not bound the wait for
//! the rest of a later request's head, or of a body that was refused before it came.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A stream on which reading fails once nothing has been read or written for as long as it may be idle.
pub struct Idling<S> {
    stream: S,
    idle: Duration,
    moved: Instant,
    due: Pin<Box<Sleep>>,
}

impl<S> Idling<S> {
    /// A stream that may be idle for so long.
    pub fn new(stream: S, idle: Duration) -> Self {
        Self { stream, idle, moved: Instant::now(), due: Box::pin(sleep(idle)) }
    }

    /// The stream, which may be idle from now on.
    pub fn into_inner(self) -> S {
        self.stream
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.due.as_mut().poll(context));
            let due = self.moved + self.idle;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.due.as_mut().reset(due);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            this.moved = Instant::now();
            return Poll::Ready(read);
        }
        this.poll_idle(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.moved = Instant::now();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_stream_fails_only_after_nothing_has_moved_either_way() {
        let (ours, mut peer) = duplex(16);
        let mut ours = Idling::new(ours, IDLE);
        let begun = Instant::now();
        for _ in 0..2 {
            tokio::time::timeout(IDLE * 3 / 4, ours.read_u8()).await.unwrap_err();
            ours.write_u8(1).await.unwrap();
            tokio::time::timeout(IDLE * 3 / 4, ours.read_u8()).await.unwrap_err();
            peer.write_u8(2).await.unwrap();
            assert_eq!(ours.read_u8().await.unwrap(), 2);
        }
        let moved = Instant::now();
        assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(moved.elapsed() >= IDLE * 9 / 10 && begun.elapsed() >= IDLE * 3, "{:?}", moved.elapsed());
    }
}
