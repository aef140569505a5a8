//! Publishers: a thread and a connection each, at an even pace or as fast as messages are taken.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    crowds::Signs,
    heads,
    latencies::Latencies,
    requests::Publishing,
    scenarios::{Rate, Scenario, channel_name},
    stamps::{Stamp, StreamId},
};
use crate::clients::Problem;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a publisher waits before it looks again whether it may go on.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// What the publishers tell, and are told, while they run.
#[derive(Default)]
pub struct Flow {
    /// Messages that were sent.
    pub published: AtomicU64,
    stops: AtomicBool,
}

/// All publishers of a run.
pub struct Publishers {
    pub flow: Arc<Flow>,
    threads: Vec<JoinHandle<Result<Published, Problem>>>,
}

/// What was published.
#[derive(Default)]
pub struct Published {
    /// How many messages each stream had.
    pub streams: HashMap<StreamId, u32>,
    /// How long their answers took.
    pub answers: Latencies,
}

impl Publishers {
    /// Begins to publish.
    pub fn start(
        scenario: &Scenario,
        publishing: &Publishing,
        to: SocketAddr,
        begun: Instant,
        signs: &Arc<Signs>,
    ) -> Self {
        let flow = Arc::new(Flow::default());
        let start = |number| {
            let publisher = Publisher {
                scenario: scenario.clone(),
                publishing: publishing.clone(),
                to,
                begun,
                signs: Arc::clone(signs),
                flow: Arc::clone(&flow),
                number,
            };
            thread::spawn(move || publisher.run())
        };
        Self { threads: (0..scenario.publishers).map(start).collect(), flow }
    }

    /// Whether one of them has ended, which is a failure while nobody has stopped them.
    pub fn failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends them, once what they sent is answered.
    ///
    /// # Errors
    /// One of them failed.
    pub fn stop(self) -> Result<Published, Problem> {
        self.flow.stops.store(true, Relaxed);
        let mut all = Published::default();
        for thread in self.threads {
            let one = thread.join().map_err(|_| "a publisher panicked")??;
            all.streams.extend(one.streams);
            all.answers.add(&one.answers);
        }
        Ok(all)
    }
}

struct Publisher {
    scenario: Scenario,
    publishing: Publishing,
    to: SocketAddr,
    begun: Instant,
    signs: Arc<Signs>,
    flow: Arc<Flow>,
    number: usize,
}

impl Publisher {
    fn run(&self) -> Result<Published, Problem> {
        let mut link = Link::connect(self.to)?;
        let (mut done, mut out, mut sent) = (Published::default(), Vec::new(), VecDeque::new());
        let (authority, started, mut messages) = (self.to.to_string(), Instant::now(), 0);
        while !self.flow.stops.load(Relaxed) {
            while sent.len() < self.scenario.pipelining && self.may_publish(messages, started) {
                self.push(messages, &authority, &mut out, &mut done.streams);
                messages += 1;
                if self.publishing.is_answered() {
                    sent.push_back(Instant::now());
                } else if out.len() > 16 * 1024 {
                    break;
                }
            }
            if !out.is_empty() {
                link.send(&out)?;
                out.clear();
            }
            match sent.pop_front() {
                Some(at) => done.answers.record(link.answer(at)?),
                None => thread::sleep(self.wait(messages, started)),
            }
        }
        for at in sent {
            done.answers.record(link.answer(at)?);
        }
        Ok(done)
    }

    fn push(&self, message: u64, authority: &str, out: &mut Vec<u8>, streams: &mut HashMap<StreamId, u32>) {
        let channel = (message as usize * self.scenario.publishers + self.number) % self.scenario.channels;
        let stream = StreamId::new(channel, self.number);
        let number = streams.entry(stream).or_default();
        let stamp = Stamp { stream, number: *number, sent_ns: self.begun.elapsed().as_nanos() as u64 };
        *number += 1;
        self.publishing.push(out, authority, &channel_name(channel), &stamp.payload(self.scenario.message_bytes));
        self.flow.published.fetch_add(1, Relaxed);
    }

    fn may_publish(&self, messages: u64, started: Instant) -> bool {
        match self.scenario.rate {
            Rate::PerSecond(_) => self.due(messages).is_some_and(|due| started.elapsed() >= due),
            Rate::Max => {
                let Scenario { connections, channels_per_connection, channels, in_flight, .. } = self.scenario;
                let subscribers = (connections * channels_per_connection) as u64;
                // Deliveries of a message, on average; all of it times the channels, so that nothing is rounded.
                let expected = self.flow.published.load(Relaxed) * subscribers;
                let open = expected.saturating_sub(self.signs.delivered.load(Relaxed) * channels as u64);
                subscribers == 0 || open < in_flight as u64 * subscribers
            }
        }
    }

    /// When a message is due, since the start; `None` is never.
    fn due(&self, message: u64) -> Option<Duration> {
        let Rate::PerSecond(rate) = self.scenario.rate else { return Some(Duration::ZERO) };
        let apart = self.scenario.publishers as f64 / rate;
        // Publishers take turns.
        let turn = self.number as f64 / self.scenario.publishers as f64;
        Duration::try_from_secs_f64((message as f64 + turn) * apart).ok()
    }

    fn wait(&self, message: u64, started: Instant) -> Duration {
        match self.scenario.rate {
            Rate::Max => LOOK_EVERY,
            Rate::PerSecond(_) => {
                let until = self.due(message).unwrap_or(PATIENCE).saturating_sub(started.elapsed());
                // It is to end in time, too.
                until.min(Duration::from_millis(100))
            }
        }
    }
}

/// A publisher's connection, or the next one where the server ends it with each answer.
struct Link {
    to: SocketAddr,
    stream: TcpStream,
    /// What was read and is no whole answer yet.
    held: Vec<u8>,
}

impl Link {
    fn connect(to: SocketAddr) -> Result<Self, Problem> {
        Ok(Self { to, stream: Self::stream(to)?, held: Vec::new() })
    }

    fn stream(to: SocketAddr) -> Result<TcpStream, Problem> {
        let said = |error: std::io::Error| format!("{to}: {error}");
        let stream = TcpStream::connect(to).map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(said)?;
        Ok(stream)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.stream.write_all(bytes).map_err(|error| format!("a publish was not sent: {error}"))
    }

    /// Reads one answer; how long it took since then, in nanoseconds.
    fn answer(&mut self, since: Instant) -> Result<u64, Problem> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(head) = heads::read(&self.held)? {
                let bytes = head.bytes + head.content_length.unwrap_or(0);
                if self.held.len() >= bytes {
                    if !(200..300).contains(&head.status) {
                        let said = String::from_utf8_lossy(&self.held[..bytes]).into_owned();
                        return Err(format!("a publish was answered {said}"));
                    }
                    self.held.drain(..bytes);
                    if head.closes {
                        self.stream = Self::stream(self.to)?;
                    }
                    return Ok(since.elapsed().as_nanos() as u64);
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server ended a publisher's connection".to_owned()),
                Ok(length) => self.held.extend_from_slice(&buffer[..length]),
                Err(error) => return Err(format!("a publish was not answered: {error}")),
            }
        }
    }
}
