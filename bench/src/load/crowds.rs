//! Thousands of subscribers in one loop over epoll, on a thread of its own.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{
    connections::{Connection, Turn},
    dialects::Dialect,
    latencies::Latencies,
    scenarios::Scenario,
    sequences::Faults,
    stamps::StreamId,
};
use crate::clients::Problem;

/// How long the loop waits for an event before it looks at what it is told to do.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What is read at once; sockets share it.
const BUFFER_BYTES: usize = 256 * 1024;

/// What the loop tells, and is told, while it runs.
#[derive(Default)]
pub struct Signs {
    /// Connections that follow their first channel, and in a second round all of theirs: they are counted twice then.
    pub answered: AtomicUsize,
    /// Connections that ended.
    pub ended: AtomicUsize,
    /// Messages that came.
    pub delivered: AtomicU64,
    /// Whether latencies are noted.
    pub recording: AtomicBool,
    /// Whether the other channels are followed too.
    pub grows: AtomicBool,
    stops: AtomicBool,
    /// Why the first connection ended.
    problem: Mutex<Option<Problem>>,
}

impl Signs {
    /// Why the first connection ended, if one did.
    pub fn problem(&self) -> Option<Problem> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Subscribers that connect, and stay until they are taken down.
pub struct Crowd {
    pub signs: Arc<Signs>,
    thread: JoinHandle<Result<Seen, Problem>>,
}

/// What the subscribers have seen.
pub struct Seen {
    pub latencies: Latencies,
    connections: Vec<Option<Connection>>,
}

impl Seen {
    /// What was wrong with what came to those that are still connected, where the streams had so many messages.
    pub fn faults(&self, scenario: &Scenario, published: &HashMap<StreamId, u32>) -> Faults {
        let mut faults = Faults::default();
        for (number, connection) in self.connections.iter().enumerate() {
            let Some(connection) = connection else { continue };
            let streams = scenario.followed(number).flat_map(|channel| {
                let of = move |publisher| StreamId::new(channel, publisher);
                (0..scenario.publishers).map(of).filter_map(|stream| Some((stream, *published.get(&stream)?)))
            });
            faults += connection.sequences.faults(streams);
        }
        faults
    }
}

impl Crowd {
    /// Begins to connect, to the addresses in turn.
    pub fn start(scenario: &Scenario, dialect: &Dialect, addresses: &[SocketAddr], begun: Instant) -> Self {
        let signs = Arc::new(Signs::default());
        let (scenario, dialect, addresses) = (scenario.clone(), dialect.clone(), addresses.to_vec());
        let told = Arc::clone(&signs);
        let thread = thread::spawn(move || {
            let turn = Turn {
                dialect: &dialect,
                scenario: &scenario,
                begun,
                recording: false,
                answered: 0,
                delivered: 0,
                latencies: Latencies::default(),
            };
            Loop { signs: &told, addresses: &addresses, turn, connections: Vec::new(), grown: 0 }.run()
        });
        Self { signs, thread }
    }

    /// Ends the loop; the connections end with what is returned.
    ///
    /// # Errors
    /// The loop failed.
    pub fn stop(self) -> Result<Seen, Problem> {
        self.signs.stops.store(true, Relaxed);
        self.thread.join().map_err(|_| "the subscribers' thread panicked".to_owned())?
    }
}

struct Loop<'a> {
    signs: &'a Signs,
    addresses: &'a [SocketAddr],
    turn: Turn<'a>,
    connections: Vec<Option<Connection>>,
    /// Connections that were told to follow all of their channels.
    grown: usize,
}

impl Loop<'_> {
    fn run(mut self) -> Result<Seen, Problem> {
        let said = |error: std::io::Error| error.to_string();
        let mut poll = Poll::new().map_err(said)?;
        let (mut events, mut buffer) = (Events::with_capacity(1_024), vec![0; BUFFER_BYTES]);
        while !self.signs.stops.load(Relaxed) {
            self.connect_some(&poll).map_err(said)?;
            self.grow_some();
            match poll.poll(&mut events, Some(LOOK_EVERY)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.map_err(said)?,
            }
            self.turn.recording = self.signs.recording.load(Relaxed);
            for event in &events {
                let Token(number) = event.token();
                if let Some(connection) = &mut self.connections[number]
                    && let Err(problem) = connection.ready(event, &mut buffer, &mut self.turn)
                {
                    self.end(number, problem);
                }
            }
            self.signs.answered.store(self.turn.answered, Relaxed);
            self.signs.delivered.store(self.turn.delivered, Relaxed);
        }
        Ok(Seen { latencies: self.turn.latencies, connections: self.connections })
    }

    fn connect_some(&mut self, poll: &Poll) -> std::io::Result<()> {
        let Scenario { connections, connect_concurrency, .. } = *self.turn.scenario;
        while self.connections.len() < connections && self.connections.len() < self.settled() + connect_concurrency {
            let number = self.connections.len();
            let address = self.addresses[number % self.addresses.len()];
            let mut connection = Connection::new(TcpStream::connect(address)?, number, address.to_string());
            poll.registry().register(connection.stream(), Token(number), Interest::READABLE | Interest::WRITABLE)?;
            self.connections.push(Some(connection));
        }
        Ok(())
    }

    fn grow_some(&mut self) {
        let Scenario { connections, connect_concurrency, .. } = *self.turn.scenario;
        if !self.signs.grows.load(Relaxed) {
            return;
        }
        while self.grown < connections && self.grown + connections < self.settled() + connect_concurrency {
            let number = self.grown;
            self.grown += 1;
            if let Some(connection) = &mut self.connections[number]
                && let Err(problem) = connection.follow_the_rest(&mut self.turn)
            {
                self.end(number, problem);
            }
        }
    }

    /// Connections that are waited for no longer.
    fn settled(&self) -> usize {
        self.turn.answered + self.signs.ended.load(Relaxed)
    }

    fn end(&mut self, number: usize, problem: Problem) {
        self.connections[number] = None;
        self.signs.ended.fetch_add(1, Relaxed);
        self.signs.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    }
}
