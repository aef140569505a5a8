//! The direct way to the wire: after the handshake nothing of HTTP stays; a socket is its stream, read and written by a task each.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Outbox;

/// How much is read at a time, into a buffer that all sockets of a thread share.
const READ_BYTES: usize = 16 * 1024;
/// How long the end of a stream may take to be told.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A connection's stream, whose shutdown may linger until the peer has ended too. One that says that it writes vectored keeps nothing to itself: what
/// it has taken is on its way without a flush.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// Where a socket waits whose handshake is answered, until whoever holds the stream comes for it. Put into a request's extensions, it asks the
/// gateway for the direct way; a request without one is served through the HTTP server.
#[derive(Clone, Default)]
pub struct Handover(Rc<RefCell<Option<Upgraded>>>);

impl Handover {
    /// The socket, if the request opened one.
    pub fn take(&self) -> Option<Upgraded> {
        self.0.borrow_mut().take()
    }

    /// Leaves a socket with its outbox; where to read it.
    pub(super) fn leave(&self, outbox: &Outbox) -> Raw {
        let raw = Raw::default();
        outbox.write_through(raw.clone());
        let writer = Writer { raw: raw.clone(), outbox: outbox.clone() };
        self.0.replace(Some(Upgraded(writer)));
        raw
    }
}

/// A socket that has no stream yet. Dropped, it is lost.
pub struct Upgraded(Writer);

impl Upgraded {
    /// Goes on with the stream: `unsent` is written first, and `unread` is what has come already.
    pub fn go_on(self, stream: impl Stream, unread: &[u8], unsent: Bytes) {
        let Self(writer) = self;
        // Copied, since the buffer that it stands in has room for a request.
        writer.raw.go_over(Slot::Open(Box::new(stream), unread.to_vec()));
        actix_rt::spawn(writer.run(unsent));
    }
}

/// The stream of a socket, shared by its two tasks.
#[derive(Clone, Default)]
pub(super) struct Raw(Rc<RefCell<Shared>>);

#[derive(Default)]
struct Shared {
    slot: Slot,
    reader: Option<Waker>,
}

#[derive(Default)]
enum Slot {
    /// The handshake's answer is on its way.
    #[default]
    Awaited,
    /// With what came beside the handshake.
    Open(Box<dyn Stream>, Vec<u8>),
    Gone,
}

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl Raw {
    fn go_over(&self, slot: Slot) {
        let mut shared = self.0.borrow_mut();
        shared.slot = slot;
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }

    /// What comes next; `None` at the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<Option<BytesMut>> {
        let mut shared = self.0.borrow_mut();
        let read = match &mut shared.slot {
            Slot::Awaited => Poll::Pending,
            Slot::Open(_, unread) if !unread.is_empty() => {
                let first = std::mem::take(unread);
                return Poll::Ready(Some(BytesMut::from(first.as_slice())));
            }
            Slot::Open(stream, _) => SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let read = ready!(Pin::new(stream).poll_read(context, &mut buffer));
                let came = buffer.filled();
                Poll::Ready((read.is_ok() && !came.is_empty()).then(|| BytesMut::from(came)))
            }),
            Slot::Gone => Poll::Ready(None),
        };
        if read.is_pending() {
            shared.reader = Some(context.waker().clone());
        }
        read
    }

    /// Whether what is written is on its way without a flush.
    pub(super) fn is_plain(&self) -> bool {
        matches!(&self.0.borrow().slot, Slot::Open(stream, _) if stream.is_write_vectored())
    }

    /// Writes as much as the wire takes now; how many bytes. Nothing where that needs a flush, as over TLS.
    pub(super) fn write_now(&self, bytes: &[u8]) -> usize {
        match &mut self.0.borrow_mut().slot {
            Slot::Open(stream, _) if stream.is_write_vectored() => {
                // Whoever is to go on once it takes more asks again with its own waker.
                match Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
                    Poll::Ready(Ok(written)) => written,
                    Poll::Ready(Err(_)) | Poll::Pending => 0,
                }
            }
            Slot::Open(..) | Slot::Awaited | Slot::Gone => 0,
        }
    }

    fn with_stream<T>(&self, work: impl FnOnce(Pin<&mut dyn Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.0.borrow_mut().slot {
            Slot::Open(stream, _) => work(Pin::new(stream.as_mut())),
            Slot::Awaited | Slot::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// What writes an outbox to its stream. When it is dropped, the connection is over.
struct Writer {
    raw: Raw,
    outbox: Outbox,
}

impl Writer {
    async fn run(self, mut unsent: Bytes) {
        if poll_fn(|context| self.poll_write(&mut unsent, context)).await.is_err() {
            return;
        }
        let end = async {
            poll_fn(|context| self.raw.with_stream(|stream| stream.poll_flush(context))).await?;
            // Before the client sees the end: it may come again at once.
            self.outbox.abandon();
            poll_fn(|context| self.raw.with_stream(|stream| stream.poll_shutdown(context))).await
        };
        // Whoever does not take it is left.
        let _ = tokio::time::timeout(LAST_WORDS, end).await;
    }

    /// Writes all that may leave; ready when the outbox is finished, or nothing can be written.
    fn poll_write(&self, unsent: &mut Bytes, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !unsent.is_empty() {
            self.outbox.wait_for_wire(context.waker());
            let written = ready!(self.raw.with_stream(|stream| stream.poll_write(context, unsent)))?;
            unsent.advance(written);
            if unsent.is_empty() {
                // What it stood in has room for a whole answer.
                *unsent = Bytes::new();
            }
        }
        let written = self.outbox.poll_write_to(context, |context, slices| {
            self.raw.with_stream(|stream| match stream.is_write_vectored() {
                true => stream.poll_write_vectored(context, slices),
                false => SCRATCH.with_borrow_mut(|scratch| stream.poll_write(context, joined(slices, scratch))),
            })
        });
        if written.is_pending() {
            // What TLS has taken may wait in it for the wire.
            let _ = self.raw.with_stream(|stream| stream.poll_flush(context))?;
        }
        written
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.raw.go_over(Slot::Gone);
        self.outbox.abandon();
    }
}

/// As much of the slices as there is room for, in one piece: over TLS each write is a record.
fn joined<'a>(slices: &[io::IoSlice<'_>], room: &'a mut [u8]) -> &'a [u8] {
    let mut filled = 0;
    for slice in slices {
        let part = slice.len().min(room.len() - filled);
        room[filled..filled + part].copy_from_slice(&slice[..part]);
        filled += part;
    }
    &room[..filled]
}

#[cfg(test)]
mod tests;
