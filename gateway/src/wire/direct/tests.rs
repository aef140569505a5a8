//! What a socket does with its stream: in order, in parts, and to the end.

use std::cell::Cell;

use fanfare_protocol::{ChannelName, Serial};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};

use super::*;
use crate::wire::{Arrival, Inbound, Leaving, News, Source};

fn frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A socket whose stream was handed over, the client's end of it, and how to read it.
fn opened(room: usize, unread: &[u8], unsent: &str) -> (Outbox, DuplexStream, Raw) {
    let outbox = Outbox::new(1_000_000);
    let handover = Handover::default();
    let raw = handover.leave(&outbox);
    let (ours, client) = duplex(room);
    handover.take().unwrap().go_on(ours, unread, frame(unsent));
    (outbox, client, raw)
}

async fn read(client: &mut DuplexStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    client.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[actix_rt::test]
async fn the_handshake_s_answer_leaves_first_and_frames_follow_in_order() {
    let (outbox, mut client, _raw) = opened(64, b"", "head ");
    outbox.push(frame("one ")).unwrap();
    outbox.push(frame("two")).unwrap();
    assert_eq!(read(&mut client, 12).await, "head one two");
}

#[actix_rt::test]
async fn what_the_wire_takes_in_parts_arrives_whole_and_waits_meanwhile() {
    let (outbox, mut client, _raw) = opened(3, b"", "");
    let texts: Vec<String> = (0..100).map(|number| format!("frame {number};")).collect();
    for text in &texts {
        outbox.push(frame(text)).unwrap();
    }
    let all = texts.concat();
    assert_eq!(read(&mut client, all.len()).await, all);
}

#[actix_rt::test]
async fn what_a_stream_keeps_to_itself_leaves_without_more_to_write() {
    let outbox = Outbox::new(100);
    let handover = Handover::default();
    let _raw = handover.leave(&outbox);
    let (ours, mut client) = duplex(64);
    handover.take().unwrap().go_on(BufWriter::new(ours), b"", frame("head "));
    outbox.push(frame("one")).unwrap();
    let came = tokio::time::timeout(Duration::from_secs(10), read(&mut client, 8)).await;
    assert_eq!(came.unwrap(), "head one");
}

#[actix_rt::test]
async fn what_came_beside_the_handshake_is_read_first() {
    // Two pings of a client, masked with zeros (RFC 6455, section 5.2).
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let (_outbox, mut client, raw) = opened(64, &ping, "");
    client.write_all(&ping).await.unwrap();
    let mut inbound = Inbound::new(Source::Direct(raw));
    for _ in 0..2 {
        assert!(matches!(inbound.next(100).await, Arrival::Frame(_)));
    }
    drop(client);
    assert!(matches!(inbound.next(100).await, Arrival::Lost));
}

#[actix_rt::test]
async fn a_reader_that_came_before_the_stream_is_woken_by_it() {
    let outbox = Outbox::new(100);
    let handover = Handover::default();
    let raw = handover.leave(&outbox);
    let reading = actix_rt::spawn(async move { poll_fn(|context| raw.poll_read(context)).await });
    tokio::task::yield_now().await;
    let (ours, _client) = duplex(64);
    handover.take().unwrap().go_on(ours, b"early", Bytes::new());
    assert_eq!(reading.await.unwrap().unwrap(), "early");
}

#[actix_rt::test]
async fn a_socket_whose_stream_never_comes_is_lost_and_gives_everything_back() {
    let outbox = Outbox::new(100);
    let handover = Handover::default();
    let raw = handover.leave(&outbox);
    let given_back = Rc::new(Cell::new(false));
    outbox.keep(Box::new(Guard(Rc::clone(&given_back))));
    drop(handover);
    assert!(poll_fn(|context| raw.poll_read(context)).await.is_none());
    assert!(given_back.get() && !outbox.is_open());
}

#[actix_rt::test]
async fn a_finished_socket_writes_what_waits_ends_its_side_and_gives_everything_back() {
    let (outbox, mut client, raw) = opened(64, b"", "");
    let given_back = Rc::new(Cell::new(false));
    outbox.keep(Box::new(Guard(Rc::clone(&given_back))));
    outbox.push(frame("last")).unwrap();
    outbox.finish();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "last");
    assert!(poll_fn(|context| raw.poll_read(context)).await.is_none());
    assert!(given_back.get());
}

#[actix_rt::test]
async fn everything_is_given_back_before_the_client_sees_the_end() {
    let outbox = Outbox::new(100);
    let handover = Handover::default();
    let _raw = handover.leave(&outbox);
    let given_back = Rc::new(Cell::new(false));
    outbox.keep(Box::new(Guard(Rc::clone(&given_back))));
    let (ours, mut client) = duplex(64);
    let was_given_back = Rc::new(Cell::new(None));
    let ending = Ending { stream: ours, given_back, was_given_back: Rc::clone(&was_given_back) };
    handover.take().unwrap().go_on(ending, b"", frame("all"));
    outbox.finish();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), was_given_back.get()), ("all", Some(true)));
}

#[actix_rt::test]
async fn a_client_that_takes_nothing_holds_a_finished_socket_for_a_moment_only() {
    let (outbox, _client, raw) = opened(1, b"", "");
    outbox.push(frame("more than there is room for")).unwrap();
    tokio::task::yield_now().await;
    outbox.finish();
    assert!(poll_fn(|context| raw.poll_read(context)).await.is_none());
}

#[actix_rt::test]
async fn a_socket_whose_client_is_gone_ends_by_itself() {
    let (outbox, client, _raw) = opened(64, b"", "");
    drop(client);
    outbox.push(frame("to nobody")).unwrap();
    assert_eq!(outbox.news().await, News::Finished);
}

/// The same over TCP, with the client's end for reading in place; nothing else is done meanwhile.
async fn opened_over_tcp() -> (Outbox, std::net::TcpStream) {
    let outbox = Outbox::new(10_000_000);
    let handover = Handover::default();
    handover.leave(&outbox);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    handover.take().unwrap().go_on(ours, b"", frame("head "));
    // Once that is there, the writer waits for more.
    client.set_nonblocking(true).unwrap();
    while client.peek(&mut [0]).is_err() {
        tokio::task::yield_now().await;
    }
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (outbox, client)
}

fn read_in_place(client: &mut std::net::TcpStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    io::Read::read_exact(client, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn say(outbox: &Outbox, text: &str, leaving: Leaving) {
    let channel = ChannelName::parse("chat").unwrap();
    outbox.push_at(frame(text), leaving, (&channel, Serial(1)), None).unwrap();
}

#[actix_rt::test]
async fn what_nothing_waits_before_leaves_without_the_writer() {
    let (outbox, mut client) = opened_over_tcp().await;
    assert_eq!(read_in_place(&mut client, 5), "head ");
    say(&outbox, "at once", Leaving::AtOnce);
    assert_eq!(read_in_place(&mut client, 7), "at once");
    outbox.push_ephemeral(frame("this too"), Leaving::AtOnce);
    assert_eq!(read_in_place(&mut client, 8), "this too");
}

#[actix_rt::test]
async fn what_may_leave_at_once_overtakes_nothing() {
    let (outbox, mut client) = opened_over_tcp().await;
    outbox.push(frame("first ")).unwrap();
    say(&outbox, "second ", Leaving::AtOnce);
    say(&outbox, "third ", Leaving::Together);
    outbox.push_ephemeral(frame("fourth"), Leaving::AtOnce);
    tokio::task::yield_now().await;
    assert_eq!(read_in_place(&mut client, 30), "head first second third fourth");
}

#[actix_rt::test]
async fn what_the_wire_takes_of_what_leaves_at_once_is_followed_by_the_rest_and_by_nothing_else() {
    for is_ephemeral in [false, true] {
        let (outbox, mut client) = opened_over_tcp().await;
        let texts: Vec<String> = (0..8).map(|number| number.to_string().repeat(1_200_000)).collect();
        for text in &texts {
            match is_ephemeral {
                true => outbox.push_ephemeral(frame(text), Leaving::AtOnce),
                false => say(&outbox, text, Leaving::AtOnce),
            }
        }
        outbox.push(frame("end")).unwrap();
        let all = format!("head {}end", texts.concat());
        let bytes = all.len();
        let read = tokio::task::spawn_blocking(move || read_in_place(&mut client, bytes)).await.unwrap();
        assert!(read == all, "it came in another order, or cut");
    }
}

#[actix_rt::test]
async fn what_may_not_leave_does_not_leave_at_once() {
    let (outbox, mut client) = opened_over_tcp().await;
    let gate = Rc::new(Door(Cell::new(false)));
    outbox.guard(Rc::clone(&gate) as Rc<dyn crate::wire::Gate>);
    say(&outbox, "held", Leaving::AtOnce);
    outbox.push_prompt(frame("pong ")).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(read_in_place(&mut client, 10), "head pong ");
    gate.0.set(true);
    outbox.go_on();
    tokio::task::yield_now().await;
    assert_eq!(read_in_place(&mut client, 4), "held");
    drop(client);
}

#[actix_rt::test]
async fn who_is_gone_is_found_out_by_what_leaves_at_once() {
    let (outbox, client) = opened_over_tcp().await;
    drop(client);
    let over = async {
        while outbox.is_open() {
            say(&outbox, "anybody?", Leaving::AtOnce);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), over).await.unwrap();
}

struct Door(Cell<bool>);

impl crate::wire::Gate for Door {
    fn is_open(&self) -> bool {
        self.0.get()
    }
}

struct Guard(Rc<Cell<bool>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// A stream that looks, when its end is told, whether everything was given back.
struct Ending {
    stream: DuplexStream,
    given_back: Rc<Cell<bool>>,
    was_given_back: Rc<Cell<Option<bool>>>,
}

impl AsyncRead for Ending {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Ending {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.was_given_back.set(Some(self.given_back.get()));
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
