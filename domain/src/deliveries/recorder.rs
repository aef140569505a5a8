//! The recorder of a node: takes note at once, and tells the trace in the background.

use std::sync::Arc;

use fanfare_protocol::{ChannelName, Epoch, ErrorCode, Serial};
use tokio::sync::Mutex;

use super::{Beginning, DeliveryTrace, Ledger, Memory, Place, Publish, Receipts, Untraceable};
use crate::{Clock, Timestamp, grants::Grant, ids::ConnectionId, ids::MessageId};

/// Courses and publishes that are told in one go.
const AT_ONCE: usize = 500;
/// Lots that are told before it is the turn of what changed meanwhile.
const LOTS: usize = 40;

/// Takes note of what becomes of messages, for apps that keep a trace; for all others it does nothing. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder {
    ledger: Arc<Ledger>,
    trace: Arc<dyn DeliveryTrace>,
    clock: Arc<dyn Clock>,
    telling: Arc<Mutex<()>>,
}

impl Recorder {
    /// A recorder that tells a trace.
    pub fn new(trace: Arc<dyn DeliveryTrace>, clock: Arc<dyn Clock>) -> Self {
        Self { ledger: Arc::default(), trace, clock, telling: Arc::default() }
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

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells the trace everything that there is to be told, and that this node is alive.
    pub async fn tell(&self) -> Result<(), Untraceable> {
        let _turn = self.telling.lock().await;
        if self.ledger.is_empty() {
            return Ok(());
        }
        for _ in 0..LOTS {
            let now = self.clock.now();
            let lot = self.ledger.take(AT_ONCE, now);
            match self.trace.write(&lot, now).await {
                Ok(memory) => {
                    let was_last = lot.courses.len() < AT_ONCE && lot.publishes.len() < AT_ONCE;
                    self.ledger.settle(lot);
                    match memory {
                        Memory::Doubtful => self.ledger.tell_anew(),
                        Memory::Whole if was_last => break,
                        Memory::Whole => {}
                    }
                }
                Err(failure) => {
                    self.ledger.give_back(lot);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }
}

/// Whose course it would be, if it is to be kept.
fn place(grant: &Grant, channel: &ChannelName) -> Option<Place> {
    let app = &grant.profile.app;
    app.traced_since?;
    Some(Place { app: app.id.clone(), channel: channel.clone(), client: grant.client()?.clone() })
}
