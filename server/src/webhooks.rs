//! Webhooks in this process: what it notes is put into the backlog, and a worker tells what is in there.

use std::{sync::Arc, time::Duration};

use fanfare_domain::webhooks::{Backlog, Notebook};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// How long notes wait for others.
const GATHERED: Duration = Duration::from_millis(25);
/// How soon it is tried again where they could not be put down.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a process's notes go.
#[derive(Clone)]
pub struct Desk {
    /// What it notes.
    pub notebook: Arc<Notebook>,
    /// Where that is put down.
    pub notes: Arc<dyn Backlog>,
}

impl Desk {
    /// A desk before that backlog.
    pub fn new(notes: Arc<dyn Backlog>) -> Self {
        Self { notebook: Arc::default(), notes }
    }

    /// Puts notes down until `stopped` says so. What cannot be put down now is put down later.
    pub async fn put_down(self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.go_on() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    async fn go_on(&self) {
        let mut is_known_to_fail = false;
        loop {
            self.notebook.written().await;
            sleep(GATHERED).await;
            match self.notebook.put_down(self.notes.as_ref()).await {
                Ok(()) if std::mem::take(&mut is_known_to_fail) => info!("Notes for webhooks are put down again"),
                Ok(()) => {}
                Err(failure) => {
                    if !std::mem::replace(&mut is_known_to_fail, true) {
                        warn!(error = %failure, "Notes for webhooks wait");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Puts down what there is, as the process ends.
    pub async fn clear(&self, patience: Duration) {
        if !matches!(timeout(patience, self.notebook.put_down(self.notes.as_ref())).await, Ok(Ok(()))) {
            warn!("Some notes for webhooks could not be put down");
        }
    }
}
