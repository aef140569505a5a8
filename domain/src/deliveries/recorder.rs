//! The recorder of a node: takes note at once, and tells the trace in the background.

use std::sync::Arc;

use fanfare_protocol::{ChannelName, Epoch, ErrorCode, Serial};
use tokio::sync::Mutex;

use super::{Beginning, DeliveryTrace, Ledger, Lot, Memory, Place, Publish, Receipts, Untraceable};
use crate::{Clock, grants::Grant, ids::ConnectionId, ids::MessageId};

/// Courses and publishes that are told in one go.
const AT_ONCE: usize = 500;
/// Lots of what is urgent that are told in a row; what is left has its turn a second later.
const URGENT_LOTS: usize = 20;
/// Lots of how far courses are; so an app with many subscribers does not keep the trace's engine from other work.
const PROGRESS_LOTS: usize = 4;

/// Takes note of what becomes of messages, for apps that keep a trace; for all others it does nothing. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder {
    ledger: Arc<Ledger>,
    trace: Arc<dyn DeliveryTrace>,
    clock: Arc<dyn Clock>,
    /// One tells at a time; whether the node has ended, and tells no more.
    has_ended: Arc<Mutex<bool>>,
}

impl Recorder {
    /// A recorder that tells a trace.
    pub fn new(trace: Arc<dyn DeliveryTrace>, clock: Arc<dyn Clock>) -> Self {
        Self { ledger: Arc::default(), trace, clock, has_ended: Arc::default() }
    }

    /// Begins the course of a subscription, if the app keeps a trace and the client has a name.
    pub fn begin(
        &self,
        grant: &Grant,
        connection: &ConnectionId,
        transport: &'static str,
        channel: &ChannelName,
        (epoch, from): (Epoch, Serial),
        is_late: bool,
    ) -> Option<Arc<Receipts>> {
        let place = place(grant, channel)?;
        let connection = connection.clone();
        let beginning = Beginning { place, connection, transport, epoch, from, is_late };
        Some(self.ledger.begin(beginning, self.clock.now()))
    }

    /// Takes note that a subscription was refused.
    pub fn refuse(
        &self,
        grant: &Grant,
        connection: &ConnectionId,
        transport: &'static str,
        channel: &ChannelName,
        code: ErrorCode,
    ) {
        if let Some(place) = place(grant, channel) {
            self.ledger.refuse(place, connection.clone(), transport, code.name(), self.clock.now());
        }
    }

    /// Takes note that messages were accepted: of each its channel, its id, and whether it is ephemeral.
    pub fn publish(&self, grant: &Grant, accepted: impl IntoIterator<Item = (ChannelName, MessageId, bool)>) {
        if grant.profile.app.traced_since.is_some() {
            let app = &grant.profile.app.id;
            let publish =
                |(channel, message, is_ephemeral)| Publish { app: app.clone(), channel, message, is_ephemeral };
            self.ledger.publish(accepted.into_iter().map(publish));
        }
    }

    /// Tells the trace everything that there is to be told, and that this node is alive.
    pub async fn tell(&self) -> Result<(), Untraceable> {
        let has_ended = self.has_ended.lock().await;
        self.tell_now(*has_ended).await
    }

    async fn tell_now(&self, has_ended: bool) -> Result<(), Untraceable> {
        if has_ended || (self.ledger.is_empty() && !self.ledger.has_begun()) {
            return Ok(());
        }
        for _ in 0..URGENT_LOTS {
            let lot = self.ledger.take_urgent(AT_ONCE, self.clock.now());
            let was_last = lot.courses.len() < AT_ONCE && lot.publishes.len() < AT_ONCE;
            self.tell_lot(lot).await?;
            if was_last {
                break;
            }
        }
        for _ in 0..PROGRESS_LOTS {
            let lot = self.ledger.take_progress(AT_ONCE, self.clock.now());
            if lot.is_empty() {
                break;
            }
            self.tell_lot(lot).await?;
        }
        Ok(())
    }

    async fn tell_lot(&self, lot: Lot) -> Result<(), Untraceable> {
        match self.trace.write(&lot, self.clock.now()).await {
            Ok(memory) => {
                self.ledger.settle(lot);
                if memory == Memory::Doubtful {
                    self.ledger.tell_anew();
                }
                Ok(())
            }
            Err(failure) => {
                self.ledger.give_back(lot);
                Err(failure)
            }
        }
    }

    /// Tells everything, and that the node ends: nothing that it knew is missing. Nothing is told after that.
    pub async fn retire(&self) -> Result<(), Untraceable> {
        let mut has_ended = self.has_ended.lock().await;
        self.tell_now(*has_ended).await?;
        *has_ended = true;
        self.trace.retire().await
    }
}

/// Whose course it would be, if it is to be kept.
fn place(grant: &Grant, channel: &ChannelName) -> Option<Place> {
    let app = &grant.profile.app;
    app.traced_since?;
    Some(Place { app: app.id.clone(), channel: channel.clone(), client: grant.client()?.clone() })
}
