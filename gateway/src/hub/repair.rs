//! What the bus may have lost is found again: heads that moved without their messages, and everything sent while it was away.

use std::{collections::HashSet, rc::Rc, time::Duration};

use fanfare_domain::{
    Refusal, connections::Command, grants::Voucher, history::Head, ids::AppId, metrics::Metric, revocations::Standing,
};
use fanfare_protocol::ErrorCode;
use tracing::{info, warn};

use super::{ChannelKey, Hub, app_news, channel::Channel, revoked, subscription::Subscription, tell};

/// Channels that are compared with the log in one round trip.
const CHANNELS_AT_ONCE: usize = 500;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Hub {
    /// Takes note of where a channel stands at least; whoever lacks something reads it from history.
    pub(super) fn take_head(&self, key: &ChannelKey, head: &Head) {
        let channel = self.channels.borrow().get(key).cloned();
        let Some(channel) = channel else { return };
        match channel.is_held() {
            true => channel.turns.defer(head),
            false => self.take_head_of(&channel, head),
        }
    }

    /// The same, when it is the channel's turn.
    pub(super) fn take_head_of(&self, channel: &Channel, head: &Head) {
        if self.is_other_epoch(channel, head) {
            return;
        }
        channel.saw(head.serial);
        for behind in channel.behind() {
            self.go_on(&behind);
        }
    }

    /// Whether a head belongs to another life of the channel than its subscriptions; then they end.
    pub(super) fn is_other_epoch(&self, channel: &Channel, head: &Head) -> bool {
        let changed = channel.is_other_epoch(&head.epoch);
        if changed {
            info!(channel = %channel.key.1, "A channel's history was replaced");
            channel.begin_epoch(head);
            for subscription in channel.subscriptions() {
                self.end_epoch(&subscription);
            }
        }
        changed
    }

    pub(super) fn end_epoch(&self, subscription: &Subscription) {
        let address = self.sockets.borrow().get(subscription.connection()).map(|socket| socket.address.clone());
        let channel = subscription.channel().key.1.clone();
        subscription.hold();
        if let Some(address) = address {
            actix_rt::spawn(async move { tell(&address, Command::EpochChanged(channel)).await });
        }
    }

    /// The bus was interrupted: compares every local channel with the log, and looks at every app and key anew. Only one such look is
    /// under way at a time; an interruption meanwhile begins it again.
    pub(super) fn interrupted(self: &Rc<Self>) {
        Metric::BusInterruptions.add(1);
        self.doubt_presence();
        self.interruptions.set(self.interruptions.get() + 1);
        if self.interruptions.get() == 1 {
            let hub = Rc::clone(self);
            actix_rt::spawn(async move {
                loop {
                    let taken = hub.interruptions.get();
                    hub.gateway.ports().directory.doubt_all().await;
                    futures::future::join(hub.compare_heads(), hub.look_at_grants()).await;
                    if hub.interruptions.get() == taken {
                        hub.interruptions.set(0);
                        return;
                    }
                }
            });
        }
    }

    async fn compare_heads(&self) {
        let keys: Vec<_> = self.channels.borrow().keys().cloned().collect();
        for some in keys.chunks(CHANNELS_AT_ONCE) {
            let mut pause = FIRST_PAUSE;
            let heads = loop {
                match self.gateway.ports().log.heads(some).await {
                    Ok(heads) => break heads,
                    Err(failure) => warn!(error = %failure, "Channels cannot be compared with the log; trying again"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            };
            for (key, head) in some.iter().zip(heads) {
                if let Some(head) = head {
                    self.take_head(key, &head);
                }
            }
        }
    }

    /// A change of an app or a key may have been missed.
    async fn look_at_grants(&self) {
        let scope_of = |standing: &Standing| (standing.app.clone(), standing.voucher.clone());
        let scopes: HashSet<_> =
            self.sockets.borrow().values().filter_map(|socket| socket.standing.as_deref().map(scope_of)).collect();
        for scope in scopes {
            let news = self.news_of(&scope).await;
            for address in self.addresses(|of| of.app == scope.0 && of.voucher == scope.1) {
                let command = match &news {
                    Ok(()) => app_news(&self.gateway, &scope.0).await,
                    Err(refusal) => Command::End(refusal.clone()),
                };
                // What cannot be looked at now stands as it is known.
                if !matches!(&command, Command::AppChanged(Err(refusal)) if refusal.code == ErrorCode::Unavailable) {
                    tell(&address, command).await;
                }
            }
        }
    }

    async fn news_of(&self, (_, voucher): &(AppId, Voucher)) -> Result<(), Refusal> {
        // Whether a signer is still there, the app says.
        let Some(key) = voucher.key() else { return Ok(()) };
        match self.gateway.ports().directory.key(key).await {
            Ok(None) => Err(revoked()),
            // What cannot be looked at now stands as it is known.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }
}
