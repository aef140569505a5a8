//! Which channels a connection follows, from the request to the end of the right.

use std::{collections::HashMap, sync::Arc};

use fanfare_protocol::{
    ChannelName, ErrorCode,
    events::{Event, error_text, event_text, ok_text},
    requests::{Start, Subscribe},
};

use super::{Connection, Effect, Effects, Located, Open, Phase};
use crate::{Refusal, capabilities::Right, deliveries::End, directory::AppProfile, grants::Grant};

/// A connection's subscriptions by channel.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(HashMap<ChannelName, Subscription>);

/// A subscription, and whether presence events were asked for.
#[derive(Debug, Clone, Copy)]
struct Subscription {
    state: State,
    presence: bool,
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its start is being looked up for this request; a start in the past needs the right to history when it begins, too.
    Starting {
        /// The request.
        id: u32,
        /// Whether it starts in the past by a rewind.
        rewinds: bool,
        /// Whether its counts are wanted.
        occupancy: bool,
    },
    /// It is delivered.
    Active,
}

impl Subscriptions {
    fn state(&self, channel: &ChannelName) -> Option<State> {
        self.0.get(channel).map(|subscription| subscription.state)
    }
}

/// Whether everything that a subscription brings may be seen.
fn may_follow(grant: &Grant, channel: &ChannelName, presence: bool) -> bool {
    let rights = grant.rights(channel);
    rights.has(Right::Subscribe) && (!presence || rights.has(Right::Presence))
}

impl Open {
    pub(super) fn subscribe(&mut self, id: u32, subscribe: Subscribe) -> Result<Effect, Refusal> {
        let Subscribe { channel, start, presence, occupancy } = subscribe;
        if self.subscriptions.0.contains_key(&channel) {
            return Err(Refusal::new(ErrorCode::AlreadySubscribed, format!("`{channel}` is subscribed already")));
        }
        self.grant.require(Right::Subscribe, &channel)?;
        if presence {
            self.grant.require_presence(&channel)?;
        }
        let rewinds = matches!(start, Start::RewindMessages(_) | Start::RewindSeconds(_));
        if rewinds {
            self.grant.require(Right::History, &channel)?;
        }
        if start != Start::Live && self.grant.profile.rule(&channel).history.is_none() {
            return Err(Refusal::new(ErrorCode::HistoryOff, format!("`{channel}` keeps no history to start from")));
        }
        let most = self.grant.profile.limits.channels_per_connection as usize;
        if self.subscriptions.0.len() >= most {
            return Err(Refusal::new(
                ErrorCode::ChannelLimit,
                format!("a connection may subscribe to {most} channels"),
            ));
        }
        let state = State::Starting { id, rewinds, occupancy };
        self.subscriptions.0.insert(channel.clone(), Subscription { state, presence });
        Ok(Effect::Locate { id, channel, start, presence })
    }

    pub(super) fn unsubscribe(&mut self, id: u32, channel: ChannelName, effects: &mut Effects) -> Result<(), Refusal> {
        match self.subscriptions.0.remove(&channel).map(|subscription| subscription.state) {
            None => return Err(Refusal::new(ErrorCode::NotSubscribed, format!("`{channel}` is not subscribed"))),
            Some(State::Starting { .. }) => {}
            Some(State::Active) => effects.push(Effect::Stop(channel, End::UNSUBSCRIBED)),
        }
        effects.push(Effect::Send(ok_text(id, &serde_json::json!({}))));
        Ok(())
    }

    /// Ends the subscriptions that the grant no longer has the right to.
    pub(super) fn end_lost_subscriptions(&mut self, why: &Refusal, effects: &mut Effects) {
        let Open { grant, subscriptions, .. } = self;
        subscriptions.0.retain(|channel, subscription| {
            let keeps = subscription.state != State::Active || may_follow(grant, channel, subscription.presence);
            if !keeps {
                effects.push(Effect::Stop(channel.clone(), why.code.name()));
                let event = Event::Unsubscribed { channel: channel.clone(), error: why.to_wire() };
                effects.push(Effect::Send(event_text(&event)));
            }
            keeps
        });
    }
}

impl Connection {
    /// The start of a subscription was looked up: answer, then deliver.
    pub(super) fn located(
        &mut self,
        id: u32,
        channel: ChannelName,
        outcome: Result<Located, Refusal>,
        effects: &mut Effects,
    ) {
        let Phase::Open(open) = &mut self.phase else { return };
        let refuse =
            |refusal: &Refusal, effects: &mut Effects| effects.push(Effect::Send(error_text(id, &refusal.to_wire())));
        let (rewinds, occupancy, presence) = match open.subscriptions.0.get(&channel) {
            Some(Subscription { state: State::Starting { id: of, rewinds, occupancy }, presence }) if *of == id => {
                (*rewinds, *occupancy, *presence)
            }
            _ => {
                let why = "the channel was unsubscribed before its subscription began";
                return refuse(&Refusal::new(ErrorCode::NotSubscribed, why), effects);
            }
        };
        let allowed = outcome.and_then(|located| {
            if open.token.is_expired() {
                return Err(Refusal::plain(ErrorCode::TokenExpired));
            }
            open.grant.require(Right::Subscribe, &channel)?;
            // The token may be a narrower one by now.
            if rewinds {
                open.grant.require(Right::History, &channel)?;
            }
            if presence {
                open.grant.require_presence(&channel)?;
            }
            Ok(located)
        });
        match allowed {
            Ok(located) => {
                open.subscriptions.0.insert(channel.clone(), Subscription { state: State::Active, presence });
                effects.push(Effect::Send(ok_text(id, &located.answer)));
                let watched = occupancy.then(|| Effect::WatchOccupancy(channel.clone()));
                effects.push(Effect::Deliver { channel, located, presence });
                effects.extend(watched);
            }
            Err(refusal) => {
                open.subscriptions.0.remove(&channel);
                refuse(&refusal, effects);
                effects.push(Effect::NoteRefusal(channel, refusal.code));
            }
        }
    }

    /// A channel's history was replaced: its subscription ends, and the client loads the current state.
    pub(super) fn epoch_changed(&mut self, channel: ChannelName, effects: &mut Effects) {
        let Phase::Open(open) = &mut self.phase else { return };
        if open.subscriptions.state(&channel) != Some(State::Active) {
            return;
        }
        open.subscriptions.0.remove(&channel);
        effects.push(Effect::Stop(channel.clone(), ErrorCode::EpochChanged.name()));
        let error = Refusal::plain(ErrorCode::EpochChanged).to_wire();
        effects.push(Effect::Send(event_text(&Event::Unsubscribed { channel, error })));
    }

    /// The app was changed: a disabled one closes the connection, a changed rule may end subscriptions.
    pub(super) fn app_changed(&mut self, outcome: Result<Arc<AppProfile>, Refusal>, effects: &mut Effects) {
        let Phase::Open(open) = &mut self.phase else { return };
        match outcome {
            Ok(profile) if !open.grant.voucher.stands_in(&profile) => {
                self.close(&Refusal::new(ErrorCode::BadKey, "the signer of the token was removed"), effects)
            }
            Ok(profile) if profile.app.enabled => {
                if let Err(refusal) = profile.app.origins.require(self.origin.as_deref()) {
                    return self.close(&refusal, effects);
                }
                open.grant.profile = profile;
                open.end_lost_subscriptions(
                    &Refusal::new(ErrorCode::Forbidden, "the channel's rule no longer allows it"),
                    effects,
                );
                open.end_lost_memberships(effects);
            }
            Ok(_) => self.close(&Refusal::plain(ErrorCode::AppDisabled), effects),
            Err(refusal) => self.close(&refusal, effects),
        }
    }
}
