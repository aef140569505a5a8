//! Taking from a partition's queue, from its channel's opening to its close.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use fanfare_domain::partitions::Partition;
use lapin::{Acker, Channel, Connection, options::BasicAckOptions};
use tokio::sync::{OnceCell, watch};
use tracing::{debug, warn};

use super::{
    acks::{Acks, Due},
    connections::{lost, within},
};

/// The channel of one consumer. It is closed once it is ended and nothing of it is in hand; whatever is not acked then goes back to the
/// queue, all at once and in order. The consumer is not cancelled before: nobody else may begin while something of it is out.
pub(super) struct Taking {
    pub partition: Partition,
    pub channel: Channel,
    connection: Arc<Connection>,
    ended: watch::Sender<bool>,
    in_hand: Mutex<usize>,
    acks: Acks,
    closed: OnceCell<()>,
}

impl Taking {
    pub fn new(partition: Partition, connection: Arc<Connection>, channel: Channel) -> Self {
        let ended = watch::Sender::new(false);
        Self {
            partition,
            channel,
            connection,
            ended,
            in_hand: Mutex::default(),
            acks: Acks::default(),
            closed: OnceCell::new(),
        }
    }

    /// Whether messages come now.
    pub fn is_alive(&self) -> bool {
        !*self.ended.borrow() && self.channel.status().connected()
    }

    /// Returns once nothing more is to be handed out, or nothing more can come.
    pub async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            // The sender lives as long as this does.
            _ = ended.wait_for(|ended| *ended) => {}
            () = lost(&self.connection, &self.channel) => {}
        }
    }

    /// Hands out no more.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Whether a batch may be handed out; if so, it counts as in hand.
    pub fn hand_out(&self) -> bool {
        let mut in_hand = self.lock();
        let may = !*self.ended.borrow();
        *in_hand += usize::from(may);
        may
    }

    /// A batch is in hand no longer.
    pub fn take_back(&self) {
        *self.lock() -= 1;
    }

    /// Acknowledges so many messages, up to the one with this acker, soon if not at once.
    pub async fn ack(self: &Arc<Self>, last: Acker, messages: usize) {
        match self.acks.note(last, messages, Instant::now()) {
            Due::Now => self.ack_now().await,
            Due::In(pause) => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    this.ack_now().await;
                });
            }
            Due::Awaited => {}
        }
    }

    /// Acknowledges all that is settled.
    async fn ack_now(&self) {
        let Some(last) = self.acks.take(Instant::now()) else { return };
        match within(last.ack(BasicAckOptions { multiple: true })).await {
            Ok(true) => {}
            // They are handed out again, and found to be stored already.
            lost => {
                warn!(partition = self.partition, error = ?lost.err(), "What is stored could not be acknowledged");
                self.end();
            }
        }
    }

    /// Closes the channel if it is ended and nothing is in hand; returns once it is closed.
    pub async fn close_when_idle(&self) {
        if *self.lock() > 0 || !*self.ended.borrow() {
            return;
        }
        let close = async {
            self.ack_now().await;
            if let Err(error) = within(self.channel.close(200, "OK".into())).await {
                // Then it went with its connection, which gives back as much.
                debug!(partition = self.partition, error, "A channel could not be closed in good order");
            }
        };
        self.closed.get_or_init(|| close).await;
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
