//! Control messages: what other nodes changed is dropped from this one's cache, and what they revoked is known here.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{
    bus::{Broadcast, Bus, Heard},
    directory::Directory,
    revocations::Enforcement,
};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

/// How soon a bus that cannot be listened to is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is told.
#[derive(Clone)]
pub struct Told {
    /// What is cached of keys and apps.
    pub directory: Arc<dyn Directory>,
    /// What is revoked, if anything is served here.
    pub enforcement: Option<Arc<Enforcement>>,
}

/// Listens until `stopped` says so. A process without a cache listens too: only so does [`Bus::last_beat`] know of beats.
pub async fn obey(bus: Arc<dyn Bus>, told: Option<Told>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = listen(bus, told) => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn listen(bus: Arc<dyn Bus>, told: Option<Told>) {
    loop {
        match bus.listen().await {
            Ok(mut listener) => {
                while let Some(heard) = listener.heard.recv().await {
                    match (&told, heard) {
                        (Some(Told { enforcement: Some(enforcement), .. }), Heard::Sent(Broadcast::Revision(beat))) => {
                            enforcement.heard(beat);
                        }
                        (Some(told), heard) => take(heard, told.directory.as_ref()).await,
                        (None, _) => {}
                    }
                }
            }
            Err(failure) => warn!(error = %failure, "The bus cannot be listened to; trying again"),
        }
        if let Some(told) = &told {
            // What was sent meanwhile was missed.
            told.directory.doubt_all().await;
        }
        sleep(PAUSE).await;
    }
}

async fn take(heard: Heard, directory: &dyn Directory) {
    match heard {
        Heard::Sent(Broadcast::AppChanged(app)) => directory.forget_app(&app).await,
        Heard::Sent(Broadcast::KeyRevoked(key)) => directory.forget_key(&key).await,
        Heard::Interrupted => directory.doubt_all().await,
        Heard::Sent(Broadcast::Message(_) | Broadcast::Presence(_) | Broadcast::Beat(_) | Broadcast::Revision(_))
        | Heard::Head { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use fanfare_domain::{
        StoreError,
        clock::SystemClock,
        directory::AppProfile,
        ids::{AppId, KeyId},
        keys::Key,
    };
    use fanfare_infra::memory::MemoryBus;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    struct Noted(UnboundedSender<String>);

    #[async_trait]
    impl Directory for Noted {
        async fn key(&self, _key: &KeyId) -> Result<Option<Arc<Key>>, StoreError> {
            Ok(None)
        }
        async fn app(&self, _app: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError> {
            Ok(None)
        }
        async fn forget_key(&self, key: &KeyId) {
            self.0.send(key.to_string()).unwrap();
        }
        async fn forget_app(&self, app: &AppId) {
            self.0.send(app.to_string()).unwrap();
        }
        async fn forget_all(&self) {
            self.0.send("everything".to_owned()).unwrap();
        }
        async fn doubt_all(&self) {
            self.0.send("all".to_owned()).unwrap();
        }
    }

    fn noted() -> (Noted, UnboundedReceiver<String>) {
        let (send, receive) = unbounded_channel();
        (Noted(send), receive)
    }

    #[tokio::test]
    async fn what_others_changed_is_forgotten_and_after_a_gap_everything_is_doubted() {
        let (directory, mut seen) = noted();
        let (app, key) = (AppId::generate(), KeyId::generate());
        take(Heard::Sent(Broadcast::AppChanged(app.clone())), &directory).await;
        take(Heard::Sent(Broadcast::KeyRevoked(key.clone())), &directory).await;
        take(Heard::Interrupted, &directory).await;
        take(Heard::Sent(Broadcast::Beat(1)), &directory).await;
        drop(directory);
        let mut all = Vec::new();
        while let Some(one) = seen.recv().await {
            all.push(one);
        }
        assert_eq!(all, [app.to_string(), key.to_string(), "all".to_owned()]);
    }

    #[tokio::test]
    async fn it_listens_until_it_is_stopped() {
        let (directory, mut seen) = noted();
        let directory = Arc::new(directory);
        let folder = tempfile::tempdir().unwrap();
        let sealer = fanfare_infra::sealing::Sealer::new(&fanfare_infra::sealing::MasterKey::generate(), None);
        let store = fanfare_infra::sql::SqlStore::open_sqlite(&folder.path().join("fanfare.db"), sealer).await.unwrap();
        let enforcement = Enforcement::new(Arc::new(store), directory.clone(), Arc::new(SystemClock));
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
        let (stop, stopped) = watch::channel(false);
        let app = AppId::generate();
        let obeying =
            tokio::spawn(obey(Arc::clone(&bus), Some(Told { directory, enforcement: Some(enforcement) }), stopped));
        while seen.is_empty() {
            bus.send(vec![Broadcast::AppChanged(app.clone())]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.recv().await, Some(app.to_string()));
        stop.send_replace(true);
        obeying.await.unwrap();
    }
}
