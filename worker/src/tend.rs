//! One partition, from taking its queue over to giving it up.

use std::{pin::pin, sync::Arc, time::Duration};

use fanfare_domain::{
    metrics::Metric,
    partitions::Fence,
    publishing::{Queue, QueueError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{
    deliver::{Ended, deliver_on},
    health::{Condition, Pulse},
    own::{Order, OwnPorts},
};

/// How long the batch in hand, and the queue to close, may take once the partition is to be given up.
const FINISH: Duration = Duration::from_millis(2_500);
/// How soon a queue that cannot be taken from is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A last owner that takes longer than this to let go of a queue is worth a warning: longer than a lease and a broken connection last.
const LONG_BUSY: Duration = Duration::from_secs(20);
/// How soon a partition is looked at again whose log is older than the bus.
const BEHIND_PAUSE: Duration = Duration::from_secs(10);

/// A partition and what tending it needs.
pub(crate) struct Tending {
    pub ports: OwnPorts,
    pub fence: Fence,
    /// When the database last answered.
    pub turns: watch::Receiver<Instant>,
    pub orders: watch::Receiver<Order>,
}

/// Delivers the partition until it is ordered otherwise, whatever goes away and comes back meanwhile.
pub(crate) async fn tend(mut tending: Tending) {
    let partition = tending.fence.partition;
    Metric::Partitions.shift(1.0);
    let health = Arc::clone(&tending.ports.health);
    let pulse = Arc::new(Pulse::default());
    loop {
        let Some(queue) = tending.open(&pulse).await else { break };
        health.set(partition, Condition::Open, &pulse);
        debug!(partition, generation = tending.fence.generation, "Taking from a partition");
        let ended = tending.deliver(&queue, &pulse).await;
        pulse.set_busy(false);
        let Some(ended) = ended else { break };
        queue.close().await;
        match ended {
            Ended::Fenced => break,
            Ended::Closed => {
                if !tending.pause(FIRST_PAUSE).await {
                    break;
                }
            }
            Ended::LogAway => {
                health.set(partition, Condition::LogAway, &pulse);
                if !tending.log_back().await {
                    break;
                }
            }
            Ended::Ahead(ahead) => {
                error!(
                    partition,
                    channel = %ahead.channel,
                    serial = %ahead.head.serial,
                    "The bus knows a later serial than the database: an older state of the database was restored. The partition is \
                     stopped; run `fanfare restored`, then its channels begin a new epoch"
                );
                health.set(partition, Condition::Behind, &pulse);
                if !tending.pause(BEHIND_PAUSE).await {
                    break;
                }
            }
        }
    }
    health.forget(partition);
    Metric::Partitions.shift(-1.0);
}

impl Tending {
    /// Takes the queue over, once its last owner is gone; `None` if the partition is to be given up.
    async fn open(&mut self, pulse: &Arc<Pulse>) -> Option<Arc<dyn Queue>> {
        let (mut pause, begun) = (FIRST_PAUSE, Instant::now());
        let mut said = false;
        let partition = self.fence.partition;
        self.ports.health.set(partition, Condition::Opening, pulse);
        loop {
            let opening = self.ports.queues.open(partition);
            let opened = tokio::select! {
                opened = opening => opened,
                () = ordered(&mut self.orders) => return None,
            };
            if let Err(failure) = &opened {
                let is_away = matches!(failure, QueueError::Unavailable(_));
                let condition = if is_away { Condition::QueueAway } else { Condition::Opening };
                self.ports.health.set(partition, condition, pulse);
            }
            match opened {
                Ok(queue) => return Some(queue),
                Err(QueueError::Busy) if said || begun.elapsed() < LONG_BUSY => {
                    debug!(partition, "A partition's last owner still takes from it");
                }
                Err(failure) if !said => {
                    said = true;
                    warn!(error = %failure, partition, "A partition's queue cannot be taken from; trying again");
                }
                Err(_) => {}
            }
            if !self.pause(pause).await {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Delivers until it ends by itself, or is ordered to: then `None`, and the queue is closed, or closes by itself once it is dropped.
    async fn deliver(&mut self, queue: &Arc<dyn Queue>, pulse: &Pulse) -> Option<Ended> {
        let ports = &self.ports;
        let mut delivering = pin!(deliver_on(
            Arc::clone(queue),
            Some(self.fence),
            Arc::clone(&ports.log),
            Arc::clone(&ports.bus),
            pulse
        ));
        tokio::select! {
            ended = &mut delivering => return Some(ended),
            () = ordered(&mut self.orders) => {}
        }
        let hands_over = *self.orders.borrow() == Order::HandOver;
        let give_up = async {
            queue.close().await;
            if hands_over {
                delivering.await;
            }
        };
        // What is not finished in time goes back to the queue, and its next owner finds what of it is stored.
        if timeout(FINISH, give_up).await.is_err() {
            info!(partition = self.fence.partition, "A partition was given up before all in hand was settled");
        }
        None
    }

    /// Waits until the database has answered since now; `false` if the partition is to be given up.
    async fn log_back(&mut self) -> bool {
        let failed = Instant::now();
        tokio::select! {
            answered = self.turns.wait_for(|turn| *turn > failed) => answered.is_ok(),
            () = ordered(&mut self.orders) => false,
        }
    }

    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => true,
            () = ordered(&mut self.orders) => false,
        }
    }
}

/// Returns when the partition is to be given up.
async fn ordered(orders: &mut watch::Receiver<Order>) {
    // Whoever gave the orders is gone: nothing may be delivered without them.
    let _ = orders.wait_for(|order| *order != Order::Deliver).await;
}
