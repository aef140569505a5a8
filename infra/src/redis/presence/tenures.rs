//! Tenures: the name under which a node holds its sessions for as long as its lease lasts, and the registry of them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fanfare_domain::presence::{Place, PresenceError};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::node::Node;
use crate::redis::{RedisFault, links::PATIENCE};

/// A tenure, as this node knows it.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    pub holder: Arc<str>,
    /// Until then nobody can have ended it.
    pub good_until: Instant,
}

/// How long a node that was not heard of hears what its connections did meanwhile, before it names them again.
const LISTENING: Duration = Duration::from_secs(1);

/// Keeps the tenure, and takes a new one where it was lost, for ever.
pub(super) async fn renew(node: Arc<Node>) {
    loop {
        if node.is_wanted.load(Ordering::SeqCst) && !node.has_retired.load(Ordering::SeqCst) {
            node.renew_once().await;
        }
        tokio::select! {
            () = tokio::time::sleep(node.times.round) => {}
            () = node.renewal.notified() => {}
        }
    }
}

impl Node {
    /// The holder, once this node has one that lasts.
    pub async fn tenure(&self) -> Result<Arc<str>, PresenceError> {
        let is_good = |tenure: &Option<Tenure>| tenure.as_ref().is_some_and(|one| one.good_until > Instant::now());
        if let Some(tenure) = self.tenure.borrow().as_ref().filter(|one| one.good_until > Instant::now()) {
            return Ok(Arc::clone(&tenure.holder));
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        self.renewal.notify_one();
        let mut tenure = self.tenure.subscribe();
        let found = timeout(PATIENCE, tenure.wait_for(is_good)).await;
        let holder = found.ok().and_then(Result::ok).and_then(|one| one.as_ref().map(|one| Arc::clone(&one.holder)));
        holder.ok_or_else(|| PresenceError::Unavailable("this node has no lease".to_owned()))
    }

    /// A tenure is over, as somebody else has found. Another one that was taken meanwhile stays.
    pub fn lose_tenure(&self, holder: &str) {
        let is_lost = self.tenure.send_if_modified(|tenure| {
            let is_it = tenure.as_ref().is_some_and(|tenure| &*tenure.holder == holder);
            if is_it {
                *tenure = None;
            }
            is_it
        });
        if is_lost {
            warn!(presence.holder = %holder, "This node's presence was taken over by others; it names its members again");
            let mut local = self.lock();
            local.former.push(holder.into());
            local.doubt_all();
        }
        self.renewal.notify_one();
    }

    async fn renew_once(&self) {
        let asked_at = Instant::now();
        // A little less than the lease, for clocks that do not run alike.
        let good_until = asked_at + self.times.lease - self.times.lease / 10;
        let current = self.tenure.borrow().clone();
        let Some(Tenure { holder, .. }) = current else { return self.begin_tenure(good_until).await };
        match self.ask_registry::<u32>(self.on_registry("renew", &holder)).await {
            Ok(1) => {
                _ = self.tenure.send_if_modified(|tenure| match tenure {
                    Some(tenure) if tenure.holder == holder => {
                        tenure.good_until = good_until;
                        true
                    }
                    _ => false,
                })
            }
            Ok(_) => {
                self.lose_tenure(&holder);
                tokio::time::sleep(LISTENING.min(self.times.round)).await;
            }
            // It lasts as long as it lasts.
            Err(_) => {}
        }
    }

    async fn begin_tenure(&self, good_until: Instant) {
        let number = self.tenures.fetch_add(1, Ordering::SeqCst) + 1;
        let holder: Arc<str> = format!("{}.{number}", self.name).into();
        if let Ok(1u32) = self.ask_registry(self.on_registry("begin", &holder)).await {
            self.tenure.send_replace(Some(Tenure { holder, good_until }));
            if number > 1 {
                info!("This node has a new lease for its presence");
            }
            self.doubt.notify_one();
        }
    }

    /// Has the registry know that the holder may have sessions in a channel, before it has.
    pub async fn note(&self, holder: &str, place: &Place) -> Result<(), RedisFault> {
        let is_current = || self.tenure.borrow().as_ref().is_some_and(|tenure| &*tenure.holder == holder);
        if is_current() && self.lock().noted.contains(place) {
            return Ok(());
        }
        let _turn = self.noting.lock().await;
        let call = self.on_registry("note", holder).arg(format!("{}/{}", place.app, place.channel));
        match self.ask_registry::<u32>(call).await? {
            1 if is_current() => {
                self.lock().noted.insert(place.clone());
                Ok(())
            }
            _ => {
                self.lose_tenure(holder);
                Err(RedisFault::Away("this node is taking a new lease".to_owned()))
            }
        }
    }

    /// Whether Redis has forgotten everything a moment ago, so that members may not have been named again. A node that knew it before tells
    /// those that did not.
    pub async fn are_named_again(&self) -> Result<bool, RedisFault> {
        let known = self.begun.load(Ordering::SeqCst);
        let call = self.on_registry("whole", "").arg(if known == 0 { String::new() } else { known.to_string() });
        let (begun, left) = self.ask_registry::<(u64, u64)>(call).await?;
        self.begun.store(begun, Ordering::SeqCst);
        Ok(left > 0)
    }

    /// Ends the tenure in good order: who does not come back leaves after the grace.
    pub async fn retire(&self) -> Result<(), RedisFault> {
        self.has_retired.store(true, Ordering::SeqCst);
        let current = self.tenure.borrow().clone();
        let Some(Tenure { holder, .. }) = current else { return Ok(()) };
        let ends_in = self.times.grace.as_millis() as u64 + 500;
        let call = self.on_registry("retire", &holder).number(ends_in);
        self.ask_registry::<u32>(call).await.map(drop)
    }
}
