//! What an outbox holds: the frames, their bytes by kind, and who waits for what.

use std::{any::Any, collections::VecDeque, rc::Rc, sync::Arc, task::Waker, time::Instant};

use bytes::{Buf, Bytes};
use fanfare_domain::{deliveries::Receipts, metrics::Metric};
use fanfare_protocol::{ChannelName, Serial};
use tokio::sync::Mutex;

use super::{super::direct::Raw, Account, Faults, Gate};

/// The most bytes that are handed to the HTTP server at once, since those are beyond our reach.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

pub(super) struct State {
    pub(super) frames: VecDeque<Queued>,
    /// Whether a part of the first frame has left already, so that the rest must follow.
    pub(super) is_begun: bool,
    /// Of everything but pages.
    pub(super) bytes: usize,
    pub(super) page_bytes: usize,
    pub(super) limit: usize,
    pub(super) phase: Phase,
    /// The writer while it waits for more to write.
    pub(super) writer: Option<Waker>,
    /// The stream of a socket that has gone over to the direct way.
    pub(super) wire: Option<Raw>,
    /// The writer while it waits for the wire to take what it has: more to write is no news to it.
    pub(super) blocked: Option<Waker>,
    pub(super) reader: Option<Waker>,
    pub(super) overflow_told: bool,
    pub(super) room: Vec<Waker>,
    pub(super) backlog_turn: Arc<Mutex<()>>,
    pub(super) kept: Vec<Box<dyn Any>>,
    /// Whether the wire asks which place a frame brings its client to; a socket's client reads it from the frame.
    pub(super) is_marked: bool,
    /// What waits for all connections of the app, once the connection is one of them.
    account: Option<Arc<Account>>,
    /// What decides whether frames of channels may leave.
    pub(super) gate: Option<Rc<dyn Gate>>,
    /// Whether its client was cut off.
    pub(super) is_cut_off: bool,
}

pub(super) struct Queued {
    pub(super) frame: Bytes,
    pub(super) kind: Kind,
    pub(super) mark: Option<Box<Mark>>,
    /// Before that it does not leave, by a fault that was made on purpose.
    pub(super) leaves_at: Option<Instant>,
}

/// The place that a frame brings its client to: it has everything of the channel up to this serial.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The channel.
    pub(crate) channel: ChannelName,
    /// The serial.
    pub(crate) serial: Serial,
    /// Who takes note once the frame has left.
    pub(crate) receipts: Option<Arc<Receipts>>,
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        (&self.channel, self.serial) == (&other.channel, other.serial)
    }
}

impl Mark {
    fn left(&self) {
        if let Some(receipts) = &self.receipts {
            receipts.written(self.serial);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Like durable, and leaves before messages that may not leave now: what keeps the connection, and its answers.
    Prompt,
    /// Must arrive; counts towards the bound.
    Durable,
    /// The same, and leaves only while it is known that nobody was cut off in the last second.
    Message,
    /// May be lost; counts towards the bound, and leaves as a message does.
    Ephemeral,
    /// A page that the client asked for: one at a time, beside the bound, since asking is not reading slowly. Leaves as a message does.
    Page,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Frames are taken.
    Open,
    /// It went over its bound; what waited was let go, and only the close is taken.
    Overflowed,
    /// The close frame is in; nothing is taken after it.
    Closing,
    /// The connection ends when the frames are written.
    Finished,
}

impl State {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            is_begun: false,
            bytes: 0,
            page_bytes: 0,
            limit,
            phase: Phase::Open,
            writer: None,
            wire: None,
            blocked: None,
            reader: None,
            overflow_told: false,
            room: Vec::new(),
            backlog_turn: Arc::default(),
            kept: Vec::new(),
            is_marked: false,
            account: None,
            gate: None,
            is_cut_off: false,
        }
    }

    /// Goes over to an app's account with all that waits.
    pub(super) fn join(&mut self, account: Arc<Account>) {
        let waits = self.all_bytes();
        account.changed(0, waits);
        if let Some(before) = self.account.replace(account) {
            before.changed(waits, 0);
        }
    }

    /// Whether the app's account admits that much more.
    pub(super) fn is_admitted(&self, more: usize) -> bool {
        self.account.as_ref().is_none_or(|account| account.admits(self.all_bytes(), more))
    }

    /// Whether much waits for the app's connections.
    pub(super) fn is_pressed(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.is_pressed())
    }

    fn all_bytes(&self) -> usize {
        self.bytes + self.page_bytes
    }

    fn account_for(&self, before: usize) {
        if let Some(account) = &self.account {
            account.changed(before, self.all_bytes());
        }
    }

    pub(super) fn queue(&mut self, frame: Bytes, kind: Kind) {
        self.queue_marked(frame, kind, None);
    }

    pub(super) fn queue_marked(&mut self, frame: Bytes, kind: Kind, mark: Option<Box<Mark>>) {
        let before = self.all_bytes();
        *self.bytes_of(kind) += frame.len();
        self.account_for(before);
        Metric::OutboxBytes.shift(frame.len() as f64);
        let leaves_at = self.faults().and_then(Faults::leaves_at);
        self.frames.push_back(Queued { frame, kind, mark, leaves_at });
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Whether the wire keeps nothing to itself that is written to it.
    pub(super) fn writes_at_once(&self) -> bool {
        self.frames.is_empty() && self.wire.as_ref().is_some_and(Raw::is_plain)
    }

    /// Writes what comes of a channel without the writer, if nothing else waits to leave and the wire takes it; whether that began. What the wire
    /// did not take is queued.
    pub(super) fn leave_at_once(&mut self, frame: &Bytes, kind: Kind) -> bool {
        let is_idle = self.frames.is_empty() && self.writer.is_some() && self.is_gate_open() && self.faults().is_none();
        let Some(wire) = self.wire.as_ref().filter(|_| is_idle && self.phase == Phase::Open) else { return false };
        let written = wire.write_now(frame);
        self.is_begun = written > 0 && written < frame.len();
        if self.is_begun {
            self.queue(frame.slice(written..), kind);
        }
        written > 0
    }

    pub(super) fn bytes_of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Prompt | Kind::Durable | Kind::Message | Kind::Ephemeral => &mut self.bytes,
            Kind::Page => &mut self.page_bytes,
        }
    }

    /// A task that is polled again and again waits once.
    pub(super) fn wait_for_room(&mut self, waker: &Waker) {
        if !self.room.iter().any(|waiting| waiting.will_wake(waker)) {
            self.room.push(waker.clone());
        }
    }

    pub(super) fn forget(&mut self, at: usize) {
        if let Some(queued) = self.frames.remove(at) {
            self.left(&queued);
        }
    }

    /// The next bytes to write: a whole frame, or a part of a large one. None while the next frame may not leave.
    pub(super) fn take_chunk(&mut self) -> Option<Bytes> {
        if self.ready_to_leave() == 0 {
            return None;
        }
        let mut chunk = self.frames.front()?.frame.clone();
        chunk.truncate(CHUNK_BYTES);
        self.written(chunk.len());
        Some(chunk)
    }

    /// How many frames may leave now, from the first one on.
    pub(super) fn ready_to_leave(&mut self) -> usize {
        if self.is_gate_open() && self.faults().is_none() {
            return self.frames.len();
        }
        if self.is_begun {
            return 1;
        }
        let Some(next) = self.next_to_leave(|_| true) else { return 0 };
        if next > 0
            && let Some(queued) = self.frames.remove(next)
        {
            self.frames.push_front(queued);
        }
        1
    }

    /// Takes note of bytes that have left, from the first frame on.
    pub(super) fn written(&mut self, mut bytes: usize) {
        let before = self.all_bytes();
        let mut frees_page = false;
        while bytes > 0
            && let Some(first) = self.frames.front_mut()
        {
            let part = first.frame.len().min(bytes);
            bytes -= part;
            first.frame.advance(part);
            let kind = first.kind;
            self.is_begun = !first.frame.is_empty();
            *self.bytes_of(kind) -= part;
            frees_page |= kind == Kind::Page;
            if !self.is_begun
                && let Some(mark) = self.frames.pop_front().and_then(|whole| whole.mark)
            {
                mark.left();
            }
        }
        self.freed(before, frees_page);
    }

    /// Where the next frame that is wanted stands, if it may leave now: the first, or while that may not leave, one that does not wait for it.
    pub(super) fn next_to_leave(&self, is_wanted: impl Fn(&Bytes) -> bool) -> Option<usize> {
        let mut wanted = self.frames.iter().enumerate().filter(|(_, queued)| is_wanted(&queued.frame));
        let (at, first) = wanted.next()?;
        if self.is_stalled() || first.leaves_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        if matches!(first.kind, Kind::Prompt | Kind::Durable) || self.is_gate_open() {
            return Some(at);
        }
        wanted.find(|(_, queued)| queued.kind == Kind::Prompt).map(|(at, _)| at)
    }

    /// What goes wrong on purpose.
    pub(super) fn faults(&self) -> Option<&Faults> {
        self.gate.as_ref()?.faults()
    }

    /// Whether nothing leaves, on purpose.
    pub(super) fn is_stalled(&self) -> bool {
        self.faults().is_some_and(Faults::is_stalled)
    }

    /// Whether what comes of channels may leave now.
    pub(super) fn is_gate_open(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.is_open())
    }

    /// The first frame that is wanted, whole, if it may leave; nothing may be taken in chunks beside it.
    pub(super) fn take_first(&mut self, is_wanted: impl Fn(&Bytes) -> bool) -> Option<Queued> {
        let at = self.next_to_leave(is_wanted)?;
        let queued = self.frames.remove(at)?;
        self.left(&queued);
        queued.mark.iter().for_each(|mark| mark.left());
        Some(queued)
    }

    /// Takes note of a frame that waits no more.
    pub(super) fn left(&mut self, queued: &Queued) {
        let before = self.all_bytes();
        *self.bytes_of(queued.kind) -= queued.frame.len();
        self.freed(before, queued.kind == Kind::Page);
    }

    /// Takes note that fewer bytes wait than before.
    fn freed(&mut self, before: usize, frees_page: bool) {
        self.account_for(before);
        Metric::OutboxBytes.shift(-((before - self.all_bytes()) as f64));
        if self.bytes <= self.limit / 4 || frees_page {
            self.wake_waiting();
        }
        if self.frames.is_empty() {
            // What an idle connection holds is counted in bytes.
            self.frames = VecDeque::new();
        }
    }

    pub(super) fn forget_all(&mut self) {
        while let Some(queued) = self.frames.pop_front() {
            self.left(&queued);
        }
        self.is_begun = false;
    }

    /// Lets everything go but the rest of a frame that has begun to leave.
    pub(super) fn forget_unbegun(&mut self) {
        let begun = usize::from(self.is_begun);
        while self.frames.len() > begun {
            self.forget(self.frames.len() - 1);
        }
    }

    /// Lets everything go that leaves through the gate and has not begun to.
    pub(super) fn forget_held(&mut self) {
        for at in (usize::from(self.is_begun)..self.frames.len()).rev() {
            if !matches!(self.frames[at].kind, Kind::Prompt | Kind::Durable) {
                self.forget(at);
            }
        }
    }

    pub(super) fn oldest_ephemeral(&self) -> Option<usize> {
        let begun = usize::from(self.is_begun);
        let later = self.frames.iter().skip(begun);
        later.enumerate().find(|(_, queued)| queued.kind == Kind::Ephemeral).map(|(at, _)| at + begun)
    }

    pub(super) fn overflow(&mut self) {
        Metric::Drops.add_labelled("slow_consumer", self.frames.len() as u64 + 1);
        self.phase = Phase::Overflowed;
        self.forget_unbegun();
        self.wake_everyone();
    }

    pub(super) fn wake_waiting(&mut self) {
        self.room.drain(..).for_each(Waker::wake);
    }

    pub(super) fn wake_everyone(&mut self) {
        self.wake_waiting();
        for waker in [self.writer.take(), self.blocked.take(), self.reader.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}
