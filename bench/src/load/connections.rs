//! One subscriber's socket: it opens, says what it wants, and looks at what comes.

use std::{
    io::{ErrorKind, Read, Write},
    time::Instant,
};

use mio::{event::Event, net::TcpStream};

use super::{
    dialects::{Dialect, Heard},
    events::Events,
    frames::{self, Frame, Kind},
    heads,
    latencies::Latencies,
    scenarios::Scenario,
    sequences::Sequences,
    stamps::Stamp,
};
use crate::clients::Problem;

/// What all connections of a crowd share.
pub struct Turn<'a> {
    pub dialect: &'a Dialect,
    pub scenario: &'a Scenario,
    /// When stamps' times begin.
    pub begun: Instant,
    /// Whether latencies are noted.
    pub recording: bool,
    /// How often a connection had every answer that it waited for.
    pub answered: usize,
    /// Messages that came.
    pub delivered: u64,
    pub latencies: Latencies,
}

/// A socket on the client's side.
pub struct Connection {
    stream: TcpStream,
    /// Its number, and so what it follows.
    number: usize,
    authority: String,
    phase: Phase,
    /// Answers that it waits for.
    awaited: usize,
    /// Whether it has said what it wants.
    has_greeted: bool,
    /// What was read and is not whole.
    held: Vec<u8>,
    /// What was said and has not left.
    unsent: Vec<u8>,
    pub sequences: Sequences,
}

enum Phase {
    Connecting,
    /// The request was sent, the answer's head is awaited.
    Opening,
    Frames,
    Stream(Events),
}

impl Connection {
    /// A connection that is being made.
    pub fn new(stream: TcpStream, number: usize, authority: String) -> Self {
        let (phase, sequences) = (Phase::Connecting, Sequences::default());
        let (held, unsent) = (Vec::new(), Vec::new());
        Self { stream, number, authority, phase, awaited: 1, has_greeted: false, held, unsent, sequences }
    }

    /// The socket, to be registered.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Does what can be done; the buffer is for what is read.
    ///
    /// # Errors
    /// The connection is over.
    pub fn ready(&mut self, event: &Event, buffer: &mut [u8], turn: &mut Turn<'_>) -> Result<(), Problem> {
        if event.is_writable() {
            if let Phase::Connecting = self.phase {
                self.open(turn)?;
            }
            self.flush()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server ended the connection".to_owned()),
                Ok(length) => {
                    self.take(&buffer[..length], turn)?;
                    // There is nothing more, and whatever comes is told; but not an end that is there already.
                    if length < buffer.len() && !event.is_read_closed() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Follows the channels but the first one, which it follows already.
    ///
    /// # Errors
    /// The connection is over.
    pub fn follow_the_rest(&mut self, turn: &mut Turn<'_>) -> Result<(), Problem> {
        let channels: Vec<_> = turn.scenario.followed(self.number).skip(1).collect();
        // The numbers 1 and 2 are taken by `connect` and the first channel.
        let said = turn.dialect.subscribing(3, &channels);
        self.awaited = said.len();
        self.say(&said)
    }

    fn open(&mut self, turn: &Turn<'_>) -> Result<(), Problem> {
        self.stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let request = turn.dialect.opening(&self.authority, self.number, &self.first(turn));
        self.awaited = turn.dialect.answers_to_opening();
        self.phase = if request.is_empty() { Phase::Frames } else { Phase::Opening };
        self.unsent.extend_from_slice(request.as_bytes());
        Ok(())
    }

    fn first(&self, turn: &Turn<'_>) -> Vec<usize> {
        turn.scenario.followed(self.number).take(1).collect()
    }

    fn take(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<(), Problem> {
        if self.held.is_empty() {
            let used = self.read(bytes, turn)?;
            self.held.extend_from_slice(&bytes[used..]);
        } else {
            self.held.extend_from_slice(bytes);
            let mut held = std::mem::take(&mut self.held);
            let used = self.read(&held, turn)?;
            held.drain(..used);
            self.held = held;
        }
        Ok(())
    }

    /// Looks at everything that is whole; how many bytes that is.
    fn read(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<usize, Problem> {
        let mut used = 0;
        if let Phase::Opening = self.phase {
            let Some(head) = heads::read(bytes)? else { return Ok(0) };
            if head.status != turn.dialect.opened_by() {
                return Err(format!("the server answered {}", String::from_utf8_lossy(bytes)));
            }
            used = head.bytes;
            self.opened(head.chunked, turn)?;
        }
        let now_ns = turn.begun.elapsed().as_nanos() as u64;
        if let Phase::Stream(mut events) = std::mem::replace(&mut self.phase, Phase::Frames) {
            used += events.take(&bytes[used..], |text| self.hear(text, now_ns, turn))?;
            self.phase = Phase::Stream(events);
            return Ok(used);
        }
        while let Some((Frame { kind, payload }, length)) = frames::next(&bytes[used..])? {
            match kind {
                Kind::Message => self.hear(payload, now_ns, turn)?,
                Kind::Ping => {
                    frames::push_pong(&mut self.unsent, payload);
                    self.flush()?;
                }
                Kind::Pong => {}
                Kind::Close => return Err(format!("the server closed: {}", String::from_utf8_lossy(payload))),
            }
            used += length;
        }
        Ok(used)
    }

    fn opened(&mut self, chunked: bool, turn: &mut Turn<'_>) -> Result<(), Problem> {
        self.phase = match turn.dialect {
            Dialect::Sse(_) => Phase::Stream(Events::new(chunked)),
            _ => Phase::Frames,
        };
        if self.awaited == 0 { self.greet(turn) } else { Ok(()) }
    }

    fn greet(&mut self, turn: &mut Turn<'_>) -> Result<(), Problem> {
        self.has_greeted = true;
        let said = turn.dialect.greeting(self.number, &self.first(turn));
        self.awaited = said.len();
        turn.answered += usize::from(said.is_empty());
        self.say(&said)
    }

    fn answered(&mut self, turn: &mut Turn<'_>) -> Result<(), Problem> {
        self.awaited -= 1;
        match self.awaited {
            0 if !self.has_greeted => return self.greet(turn),
            0 => turn.answered += 1,
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, text: &[u8], now_ns: u64, turn: &mut Turn<'_>) -> Result<(), Problem> {
        if let Some(stamp) = Stamp::find(text) {
            turn.delivered += 1;
            self.sequences.came(stamp.stream, stamp.number);
            if turn.recording {
                turn.latencies.record(now_ns.saturating_sub(stamp.sent_ns));
            }
            return Ok(());
        }
        match turn.dialect.hear(text) {
            Heard::Answer if self.awaited > 0 => self.answered(turn),
            Heard::Answer | Heard::Other => Ok(()),
            Heard::Ping(pong) => self.say(&[pong]),
            Heard::Refusal => Err(format!("the server said {}", String::from_utf8_lossy(text))),
        }
    }

    fn say(&mut self, texts: &[impl AsRef<str>]) -> Result<(), Problem> {
        for text in texts {
            frames::push_text(&mut self.unsent, text.as_ref());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Problem> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        // Said once, when it connects: it is not kept for each of thousands.
        self.unsent = Vec::new();
        Ok(())
    }
}
