//! The limit that every scenario is divided by: it accepts sockets and writes ready bytes to each of them, and does nothing else.
//!
//! Subscribers connect to one port and are sent a greeting, so that they know that they are counted in. A publisher connects to the other and
//! sends blocks: four bytes of length, the least significant first, and that many bytes, which are written to every subscriber as they are,
//! with one `write` for each subscriber and block. One thread does it all.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    process::ExitCode,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

/// A text frame of WebSocket with the word `ready`, since that is what the clients read.
const GREETING: &[u8] = b"\x81\x05ready";
const SUBSCRIBERS: Token = Token(0);
const PUBLISHERS: Token = Token(1);
/// Tokens of connections begin here.
const FIRST: usize = 2;

fn main() -> ExitCode {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("fanfare-limit: the limit of open files stays as it is: {error}");
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare-limit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut subscribers = TcpListener::bind(loopback)?;
    let mut publishers = TcpListener::bind(loopback)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut subscribers, SUBSCRIBERS, Interest::READABLE)?;
    poll.registry().register(&mut publishers, PUBLISHERS, Interest::READABLE)?;
    println!("Subscribers: {}\nPublishers: {}", subscribers.local_addr()?, publishers.local_addr()?);
    let mut limit = Limit { connections: Vec::new(), free: Vec::new(), buffer: vec![0; 256 * 1024] };
    let mut events = Events::with_capacity(1_024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                SUBSCRIBERS => limit.accept(&poll, &subscribers, None)?,
                PUBLISHERS => limit.accept(&poll, &publishers, Some(Vec::new()))?,
                Token(token) => limit.read(token - FIRST),
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// Of a publisher, what was read and is no whole block yet.
    held: Option<Vec<u8>>,
}

struct Limit {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

impl Limit {
    fn accept(&mut self, poll: &Poll, listener: &TcpListener, held: Option<Vec<u8>>) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poll.registry().register(&mut stream, Token(FIRST + index), Interest::READABLE)?;
            if held.is_none() && !written(&mut stream, GREETING) {
                self.free.push(index);
                continue;
            }
            self.connections[index] = Some(Connection { stream, held: held.clone() });
        }
    }

    /// Takes what a connection sent; a subscriber has nothing to say.
    fn read(&mut self, index: usize) {
        loop {
            let Some(connection) = &mut self.connections[index] else { return };
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return self.drop(index),
                Ok(length) => {
                    if let Some(held) = &mut connection.held {
                        held.extend_from_slice(&self.buffer[..length]);
                        let mut held = std::mem::take(held);
                        let used = self.publish_all(&held);
                        held.drain(..used);
                        if let Some(publisher) = &mut self.connections[index] {
                            publisher.held = Some(held);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.drop(index),
            }
        }
    }

    /// Publishes every whole block; how many bytes they were.
    fn publish_all(&mut self, held: &[u8]) -> usize {
        let mut used = 0;
        while let Some((length, rest)) = held[used..].split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some(block) = rest.get(..length) else { break };
            self.publish(block);
            used += 4 + length;
        }
        used
    }

    fn publish(&mut self, block: &[u8]) {
        for index in 0..self.connections.len() {
            if let Some(Connection { stream, held: None }) = &mut self.connections[index]
                && !written(stream, block)
            {
                self.drop(index);
            }
        }
    }

    fn drop(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.free.push(index);
        }
    }
}

/// Whether everything was written; what does not fit is not kept, so a reader that is that slow is dropped.
fn written(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let length = stream.write(bytes);
    if !matches!(length, Ok(length) if length == bytes.len()) {
        eprintln!("fanfare-limit: a subscriber did not take a whole block ({length:?}) and is dropped");
        return false;
    }
    true
}
