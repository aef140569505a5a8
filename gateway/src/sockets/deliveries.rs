//! What a connection tells the trace of deliveries, where its app keeps one.

use fanfare_protocol::{ChannelName, ErrorCode};

use super::SocketActor;

impl SocketActor {
    /// Takes note that a subscription was refused.
    pub(super) fn note_refusal(&self, channel: &ChannelName, code: ErrorCode) {
        if let Some(grant) = self.connection.grant() {
            let recorder = &self.hub.gateway().ports().publisher.recorder;
            recorder.refuse(grant, &self.id, self.transport.name(), channel, code);
        }
    }

    /// The app may have switched its trace on or off. Of a subscription that was there before, the trace knows only what comes.
    pub(super) fn trace_as_the_app_wants(&self) {
        let Some(grant) = self.connection.grant() else { return };
        let is_wanted = grant.profile.app.traced_since.is_some();
        let recorder = &self.hub.gateway().ports().publisher.recorder;
        for (channel, subscription) in &self.subscriptions {
            match (is_wanted, subscription.is_traced()) {
                (true, false) => {
                    let start = subscription.epoch().map(|epoch| (epoch, subscription.position()));
                    let begin = |start| recorder.begin(grant, &self.id, self.transport.name(), channel, start, true);
                    subscription.trace(start.and_then(begin));
                }
                (false, true) => subscription.trace(None),
                _ => {}
            }
        }
    }
}
