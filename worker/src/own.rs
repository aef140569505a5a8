//! Partitions that this worker owns: taken, tended each by a task of its own, and given back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fanfare_domain::{
    bus::Bus,
    history::MessageLog,
    ids::WorkerId,
    partitions::{Fence, Holdings, Partitions},
    publishing::Queues,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    health::Health,
    tend::{Tending, tend},
};

/// How often leases are renewed and the share is looked at.
const TURN: Duration = Duration::from_secs(1);
/// How long one turn may take; a lease lasts longer.
const TURN_PATIENCE: Duration = Duration::from_secs(3);
/// How long a turn may still take once the worker is to end.
const LAST_TURN: Duration = Duration::from_millis(300);
/// How long giving everything back may take then: with what is in hand, it fits into the time that a process has to end.
const LEAVE: Duration = Duration::from_secs(1);
/// How soon giving back is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// After this long without a turn somebody else may own what was ours.
const LEASE: Duration = Duration::from_secs(5);

/// What owning partitions needs.
#[derive(Clone)]
pub struct OwnPorts {
    /// Who owns what.
    pub partitions: Arc<dyn Partitions>,
    /// The partitions' queues.
    pub queues: Arc<dyn Queues>,
    /// Where messages go first.
    pub log: Arc<dyn MessageLog>,
    /// Where they go then.
    pub bus: Arc<dyn Bus>,
    /// Who this worker is.
    pub worker: WorkerId,
    /// What is noted of the work.
    pub health: Arc<Health>,
}

/// What a task is told to do with its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Deliver.
    Deliver,
    /// Finish what is in hand, then stop.
    HandOver,
    /// Stop at once: it has another owner, or may have.
    Drop,
}

/// A partition's task.
struct Task {
    order: watch::Sender<Order>,
    running: JoinHandle<()>,
}

/// Owns this worker's share of the partitions until `shutdown` says so; then hands all of them over and ends.
pub async fn own(ports: OwnPorts, mut shutdown: watch::Receiver<bool>) {
    let turns = watch::Sender::new(Instant::now());
    let mut owner = Owner { ports, tasks: HashMap::new(), turns, failing: false };
    let mut due = interval(TURN);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = asked_to_stop(&mut shutdown) => break,
            _ = due.tick() => {}
        }
        owner.turn(&mut shutdown).await;
    }
    owner.hand_all_over().await;
}

struct Owner {
    ports: OwnPorts,
    tasks: HashMap<Fence, Task>,
    /// When a turn was last taken: the database answered then.
    turns: watch::Sender<Instant>,
    failing: bool,
}

impl Owner {
    /// One turn; cut short once the worker is to end, but not before it is known what it holds.
    async fn turn(&mut self, shutdown: &mut watch::Receiver<bool>) {
        let begun = Instant::now();
        let held = tokio::select! {
            held = timeout(TURN_PATIENCE, self.ports.partitions.hold(&self.ports.worker)) => held,
            () = async {
                asked_to_stop(shutdown).await;
                sleep(LAST_TURN).await;
            } => return,
        };
        match held {
            Ok(Ok(holdings)) => {
                if std::mem::take(&mut self.failing) {
                    info!("Partitions can be held again");
                }
                self.ports.health.held();
                // A lease counts from before it was asked for.
                self.turns.send_replace(begun);
                tokio::select! {
                    biased;
                    () = asked_to_stop(shutdown) => {}
                    () = self.arrange(holdings) => {}
                }
            }
            failed => {
                if !std::mem::replace(&mut self.failing, true) {
                    let cause = failed.map_or_else(|slow| slow.to_string(), |held| format!("{:?}", held.err()));
                    warn!(cause, "The leases of the partitions cannot be renewed; trying again");
                }
                let held = self.turns.borrow().elapsed();
                if held > LEASE {
                    self.stop(|_| true, Order::Drop).await;
                }
            }
        }
    }

    /// Makes the tasks match what is owned, and gives back what is beyond the share.
    async fn arrange(&mut self, holdings: Holdings) {
        let Holdings { mut owned, share } = holdings;
        self.stop(|fence| !owned.contains(fence), Order::Drop).await;
        owned.sort_by_key(|fence| fence.partition);
        let surplus = owned.split_off(share.min(owned.len()));
        for fence in owned {
            self.tasks.entry(fence).or_insert_with(|| begin(self.ports.clone(), fence, self.turns.subscribe()));
        }
        if !surplus.is_empty() {
            info!(partitions = surplus.len(), share, "Handing over partitions, which are spread anew");
            self.stop(|fence| surplus.contains(fence), Order::HandOver).await;
            let release = async {
                for fence in surplus {
                    self.release(fence).await;
                }
            };
            if timeout(TURN_PATIENCE, release).await.is_err() {
                warn!("Not all partitions beyond the share could be given back in time; trying again");
            }
        }
    }

    /// Ends tasks; given up half-way, those that have not ended are still known.
    async fn stop(&mut self, which: impl Fn(&Fence) -> bool, order: Order) {
        let stopping: Vec<_> = self.tasks.keys().copied().filter(which).collect();
        for fence in &stopping {
            self.tasks[fence].order.send_replace(order);
        }
        for fence in &stopping {
            let Some(task) = self.tasks.get_mut(fence) else { continue };
            (&mut task.running).await.expect("a partition's task does not panic and is not aborted");
            self.tasks.remove(fence);
        }
    }

    async fn release(&self, fence: Fence) {
        if let Err(failure) = self.ports.partitions.release(&self.ports.worker, fence).await {
            warn!(error = %failure, partition = fence.partition, "A partition could not be given back; its lease will end");
        }
    }

    async fn hand_all_over(&mut self) {
        self.stop(|_| true, Order::HandOver).await;
        let leave = async {
            while let Err(failure) = self.ports.partitions.leave(&self.ports.worker).await {
                debug!(error = %failure, "The partitions could not be given back; trying again");
                sleep(AGAIN).await;
            }
        };
        match timeout(LEAVE, leave).await {
            Ok(()) => info!("All partitions are handed over"),
            Err(_) => warn!("The partitions could not be given back; their leases will end"),
        }
    }
}

fn begin(ports: OwnPorts, fence: Fence, turns: watch::Receiver<Instant>) -> Task {
    let (order, orders) = watch::channel(Order::Deliver);
    let running = tokio::spawn(tend(Tending { ports, fence, turns, orders }));
    Task { order, running }
}

async fn asked_to_stop(shutdown: &mut watch::Receiver<bool>) {
    // Whoever would ask is gone: then it is time, too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
