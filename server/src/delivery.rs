//! Delivery in this process: what runs it, and how it is asked to end with everything settled.

use fanfare_domain::publishing::Queue;
use fanfare_infra::memory::MemoryQueue;
use futures::future::BoxFuture;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

/// From the queue to the log to the bus, not yet begun.
pub struct Delivery {
    work: BoxFuture<'static, ()>,
    end: End,
}

/// How the work is asked to end.
#[derive(Clone)]
enum End {
    /// The process's own queue is closed; it ends when that is empty.
    Close(MemoryQueue),
    /// It is told, and hands over what it owns.
    Tell(watch::Sender<bool>),
}

impl Delivery {
    /// Work that ends once its queue is closed and empty.
    pub fn from_queue(queue: MemoryQueue, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { work: Box::pin(work), end: End::Close(queue) }
    }

    /// Work that ends, with everything handed over, once it is told.
    pub fn until_told<W>(work: impl FnOnce(watch::Receiver<bool>) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (end, told) = watch::channel(false);
        Self { work: Box::pin(work(told)), end: End::Tell(end) }
    }

    /// Begins on that runtime.
    pub fn start(self, runtime: &Handle) -> Delivering {
        Delivering { task: runtime.spawn(self.work), end: self.end }
    }
}

/// Delivery that runs.
pub struct Delivering {
    task: JoinHandle<()>,
    end: End,
}

impl Delivering {
    /// Returns when it has ended unasked.
    pub async fn ended(&mut self) {
        // An error here is a panic, which has ended the process already.
        let _ = (&mut self.task).await;
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(mut self) {
        match &self.end {
            End::Close(queue) => queue.close().await,
            End::Tell(told) => _ = told.send_replace(true),
        }
        self.ended().await;
    }
}
