//! Revocations on one thread: who is cut off is ended before anything else is delivered, and nothing is delivered while it is not known.
//!
//! The gate is asked where messages leave outboxes, each time by the clock: a process that was stopped finds it shut when it wakes, before
//! its first delivery, and opens it once the list was read. While it is shut, what has a place elsewhere does not enter outboxes either,
//! so that none overflows for it: it is nothing that a client did.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use fanfare_domain::{
    Refusal,
    connections::Command,
    grants::Grant,
    ids::ConnectionId,
    metrics::Metric,
    revocations::{Enforcement, Revision, Standing},
};

use super::{Hub, tell};
use crate::{
    faults::Faults,
    wire::{self, Gate as _},
};

/// Whether this thread may deliver.
pub(crate) struct Gate {
    enforcement: Arc<Enforcement>,
    /// The number up to which every socket here obeys.
    obeyed: Cell<Revision>,
    /// Whether it was found shut since it was opened last.
    found_shut: Cell<bool>,
    /// What goes wrong on purpose where frames leave.
    faults: Option<Faults>,
}

impl Gate {
    pub(super) fn new(enforcement: Arc<Enforcement>, faults: Option<Faults>) -> Rc<Self> {
        enforcement.add_ender();
        Rc::new(Self { enforcement, obeyed: Cell::default(), found_shut: Cell::default(), faults })
    }
}

impl wire::Gate for Gate {
    fn is_open(&self) -> bool {
        let is_open = self.enforcement.is_current() && self.obeyed.get() == self.enforcement.revision();
        if !is_open {
            self.found_shut.set(true);
        }
        is_open
    }

    fn faults(&self) -> Option<&Faults> {
        self.faults.as_ref()
    }
}

impl Hub {
    /// Whether messages may be delivered now. Whoever was cut off since the last time is ended first.
    pub(crate) fn may_deliver(&self) -> bool {
        if self.gate.enforcement.is_current() {
            self.obey();
        }
        self.gate.is_open()
    }

    /// Refuses a grant that is revoked by now.
    pub(crate) fn check(&self, grant: &Grant) -> Result<(), Refusal> {
        self.gate.enforcement.check(&grant.standing())
    }

    /// Waits a moment for the node to know what was revoked.
    pub(crate) fn current_soon(&self) -> impl Future<Output = bool> + use<> {
        let enforcement = Arc::clone(&self.gate.enforcement);
        async move { enforcement.current_soon().await }
    }

    /// Waits until messages may be delivered, however long that is.
    pub(super) async fn open_gate(&self) {
        while !self.may_deliver() {
            self.gate.enforcement.current().await;
        }
    }

    /// Takes note of what a socket is, now that it has connected or brought a fresh token.
    pub(crate) fn identify(&self, connection: &ConnectionId, standing: Standing) {
        if let Some(socket) = self.sockets.borrow_mut().get_mut(connection)
            && socket.standing.replace(Box::new(standing)).is_none()
        {
            self.gateway.shared.connections.fetch_add(1, Ordering::SeqCst);
            Metric::Connections.shift(1.0);
        }
    }

    /// Cuts off whoever is revoked and not known to be here yet. Nothing more than what has begun to leave leaves for them, but the reason.
    fn obey(&self) {
        let known = self.gate.obeyed.get();
        if known == self.gate.enforcement.revision() {
            return;
        }
        let (reach, revision) = self.gate.enforcement.reach_after(known);
        let mut cut_off = Vec::new();
        if !reach.is_empty() {
            for socket in self.sockets.borrow().values() {
                let Some(standing) = socket.standing.as_deref().filter(|standing| reach.has(standing)) else {
                    continue;
                };
                if let Some(cut) = self.gate.enforcement.cut(standing) {
                    socket.outbox.cut_off();
                    cut_off.push((socket.address.clone(), cut));
                }
            }
        }
        self.gate.obeyed.set(revision);
        self.gate.enforcement.ended_sockets(known);
        for (address, cut) in cut_off {
            actix_rt::spawn(async move { tell(&address, Command::End(cut.refusal())).await });
        }
    }

    /// Goes on where the gate was found shut.
    fn reopen(&self) {
        self.gate.found_shut.set(false);
        self.sockets.borrow().values().for_each(|socket| socket.outbox.go_on());
        let channels: Vec<_> = self.channels.borrow().values().cloned().collect();
        for behind in channels.iter().flat_map(|channel| channel.behind()) {
            self.go_on(&behind);
        }
        channels.iter().for_each(|channel| self.catch_up_with_members(channel));
        self.tell_occupancy(Instant::now());
    }
}

/// Obeys every revocation as soon as it is known, until the process ends.
pub(super) async fn obey_changes(hub: Rc<Hub>) {
    let mut changes = hub.gate.enforcement.changes();
    loop {
        changes.mark_unchanged();
        if hub.may_deliver() && hub.gate.found_shut.get() {
            hub.reopen();
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
