//! From a text message to what is to be done, and from an outcome to its answer.

use std::time::Duration;

use fanfare_protocol::{
    ChannelName, ErrorCode,
    events::{self, Connected, ConnectionLimits, error_text, ok_text},
    requests::{Connect, History, Incoming, Publish, Request, Unreadable},
};

use super::{
    Connection, Credential, Effect, Effects, MAX_WAITING, Open, Phase,
    tokens::{TokenWatch, Verdict},
};
use crate::{
    Refusal, Timestamp,
    capabilities::Right,
    grants::Grant,
    history::HistoryPage,
    ids::ConnectionId,
    publishing::{NewPublish, Receipt},
};

/// Items in a page of history that names no limit.
const DEFAULT_PAGE_ITEMS: u32 = 100;

impl Connection {
    /// A text message arrived at its turn.
    pub(super) fn text(&mut self, text: String, now: Timestamp, effects: &mut Effects) {
        if let Phase::Connecting { waiting, .. } = &mut self.phase {
            if waiting.len() < MAX_WAITING {
                waiting.push(text);
                return;
            }
            let refusal =
                Refusal::new(ErrorCode::RateLimited, "too many requests were sent before `connect` was answered");
            return self.close(&refusal, effects);
        }
        match Incoming::parse(&text) {
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Request { id, request }) => self.request(id, request, now, effects),
            Err(Unreadable::Malformed(why)) => self.close(&Refusal::new(ErrorCode::Malformed, why), effects),
            Err(Unreadable::Refused { id, code, message }) => {
                refuse(id, &Refusal::new(code, message), effects);
                if matches!(self.phase, Phase::Fresh { .. }) {
                    self.close(&Refusal::plain(ErrorCode::NotConnected), effects);
                }
            }
        }
    }

    /// A text message arrived too soon: it is refused, and who goes on regardless is closed.
    pub(super) fn too_fast(&mut self, text: &str, retry_after: Duration, effects: &mut Effects) {
        self.strikes += 1;
        let most = self.grant().map_or(1, |grant| grant.profile.limits.requests_per_s);
        let refusal = Refusal::new(ErrorCode::RateLimited, format!("a connection may send {most} requests a second"))
            .retry_after(retry_after);
        match Incoming::parse(text) {
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Request { id, .. }) | Err(Unreadable::Refused { id, .. }) => refuse(id, &refusal, effects),
            Err(Unreadable::Malformed(why)) => return self.close(&Refusal::new(ErrorCode::Malformed, why), effects),
        }
        if self.strikes > most {
            self.close(&refusal, effects);
        }
    }

    /// A text message arrived while the node may serve nobody: its request is refused, and a connection that is not open yet is closed.
    pub(super) fn unavailable(&mut self, text: &str, effects: &mut Effects) {
        let refusal = Refusal::new(ErrorCode::Unavailable, "this node cannot tell what was revoked in the last second")
            .retry_after(Duration::from_secs(1));
        match Incoming::parse(text) {
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Request { id, .. }) | Err(Unreadable::Refused { id, .. }) => {
                if matches!(self.phase, Phase::Open(_)) {
                    return refuse(id, &refusal, effects);
                }
                self.refuse_and_close(id, &refusal, effects);
            }
            Err(Unreadable::Malformed(why)) => self.close(&Refusal::new(ErrorCode::Malformed, why), effects),
        }
    }

    fn request(&mut self, id: u32, request: Request, now: Timestamp, effects: &mut Effects) {
        match (&mut self.phase, request) {
            (Phase::Fresh { timeout, .. }, Request::Connect(connect)) => {
                let until = now.after(*timeout);
                self.connect(id, connect, until, effects);
            }
            (Phase::Open(_), Request::Connect(_)) => {
                self.refuse_and_close(id, &Refusal::plain(ErrorCode::AlreadyConnected), effects)
            }
            (Phase::Open(open), request) => {
                // A tick may be late by a moment; an expired token is expired all the same.
                if open.token.tick(now, effects) == Verdict::Over {
                    return self.refuse_and_close(id, &Refusal::plain(ErrorCode::TokenExpired), effects);
                }
                if let Err(refusal) = open.request(&self.id, id, request, effects) {
                    refuse(id, &refusal, effects);
                }
            }
            _ => self.refuse_and_close(id, &Refusal::plain(ErrorCode::NotConnected), effects),
        }
    }

    fn connect(&mut self, id: u32, connect: Connect, until: Timestamp, effects: &mut Effects) {
        let Connect { token, key, app, client: _ } = connect;
        let token = token.or_else(|| if key.is_none() { self.bearer.take() } else { None });
        let credential = match (token, key) {
            (Some(token), None) => Credential::Token { token, app },
            (None, Some(key)) => Credential::PublicKey { key, app },
            (Some(_), Some(_)) => {
                let refusal = Refusal::new(ErrorCode::Unauthorized, "`connect` takes either `token` or `key`");
                return self.refuse_and_close(id, &refusal, effects);
            }
            (None, None) => {
                let refusal =
                    Refusal::new(ErrorCode::Unauthorized, "`connect` needs a `token`, or a `key` for public channels");
                return self.refuse_and_close(id, &refusal, effects);
            }
        };
        self.phase = Phase::Connecting { id, until, waiting: Vec::new() };
        effects.push(Effect::Authenticate(credential));
    }

    /// The credentials were looked at: answer, then take what waited.
    pub(super) fn authenticated(&mut self, outcome: Result<Grant, Refusal>, now: Timestamp, effects: &mut Effects) {
        let Phase::Connecting { id, waiting, .. } = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let grant = match outcome {
            Ok(grant) => grant,
            Err(refusal) => return self.refuse_and_close(id, &refusal, effects),
        };
        if let Err(refusal) = grant.profile.app.origins.require(self.origin.as_deref()) {
            return self.refuse_and_close(id, &refusal, effects);
        }
        if grant.expires_at.is_some_and(|end| end <= now) {
            return self.refuse_and_close(id, &Refusal::plain(ErrorCode::TokenExpired), effects);
        }
        let token = TokenWatch::new(grant.expires_at, now);
        let limits = &grant.profile.limits;
        let connected = Connected {
            connection: self.id.as_str().to_owned(),
            app: grant.profile.app.id.as_str().to_owned(),
            client: grant.client().cloned(),
            ping_ms: self.heartbeat.ping_ms(),
            token_ttl_ms: token.ttl_ms(now),
            limits: ConnectionLimits {
                message_bytes: limits.message_bytes.into(),
                channels: limits.channels_per_connection.into(),
                requests_per_s: limits.requests_per_s.into(),
            },
        };
        effects.push(Effect::Send(ok_text(id, &connected)));
        self.phase = Phase::Open(Box::new(Open {
            grant,
            subscriptions: Default::default(),
            memberships: Default::default(),
            token,
            turns: Default::default(),
        }));
        for text in waiting {
            self.text(text, now, effects);
            if self.is_closed() {
                break;
            }
        }
    }

    pub(super) fn refuse_and_close(&mut self, id: u32, refusal: &Refusal, effects: &mut Effects) {
        refuse(id, refusal, effects);
        self.close(refusal, effects);
    }
}

impl Open {
    fn request(
        &mut self,
        connection: &ConnectionId,
        id: u32,
        request: Request,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if self.token.is_expired() && !matches!(request, Request::Token { .. }) {
            if let Request::Subscribe(subscribe) = request {
                effects.push(Effect::NoteRefusal(subscribe.channel, ErrorCode::TokenExpired));
            }
            return Err(Refusal::plain(ErrorCode::TokenExpired));
        }
        match request {
            Request::Connect(_) => unreachable!("a second connect is refused before"),
            Request::Subscribe(subscribe) => {
                let channel = subscribe.channel.clone();
                let located = self.subscribe(id, subscribe).inspect_err(|refusal| {
                    // Whoever has the subscription is not without it.
                    if refusal.code != ErrorCode::AlreadySubscribed {
                        effects.push(Effect::NoteRefusal(channel, refusal.code));
                    }
                });
                effects.push(located?);
            }
            Request::Unsubscribe { channel } => self.unsubscribe(id, channel, effects)?,
            Request::Publish(publish) => effects.push(self.publish(connection, id, publish)?),
            Request::History(History { channel, range, limit }) => {
                self.grant.require_history(&channel)?;
                effects.push(Effect::ReadHistory { id, channel, range, limit: limit.unwrap_or(DEFAULT_PAGE_ITEMS) });
            }
            Request::Presence(presence) => effects.push(self.presence(connection, id, presence)?),
            Request::Token { token } => effects.push(Effect::Refresh { id, turn: self.turns.begin(), token }),
        }
        Ok(())
    }

    fn publish(&self, connection: &ConnectionId, id: u32, publish: Publish) -> Result<Effect, Refusal> {
        self.grant.require(Right::Publish, &publish.channel)?;
        let ack = publish.ack;
        let publish = NewPublish {
            channel: publish.channel,
            data: publish.data,
            name: publish.name,
            headers: publish.headers,
            client: None,
            ephemeral: publish.ephemeral,
            exclude: (!publish.echo).then(|| connection.clone()),
            idempotency_key: publish.idempotency_key,
            trace: None,
            keep_spaces: false,
        };
        Ok(Effect::Publish { id, publish: Box::new(publish), ack })
    }
}

fn refuse(id: u32, refusal: &Refusal, effects: &mut Effects) {
    effects.push(Effect::Send(error_text(id, &refusal.to_wire())));
}

/// Whether the answer to a publish carries the place.
pub(super) fn published(id: u32, with_place: bool, outcome: Result<Receipt, Refusal>, effects: &mut Effects) {
    match outcome {
        Ok(receipt) => {
            let (epoch, serial) = receipt.place.filter(|_| with_place).unzip();
            let ok = events::Published { message: receipt.id.as_str().to_owned(), epoch, serial };
            effects.push(Effect::Send(ok_text(id, &ok)));
        }
        Err(refusal) => refuse(id, &refusal, effects),
    }
}

/// Answers with a page of history.
pub(super) fn history_read(
    id: u32,
    channel: &ChannelName,
    outcome: Result<HistoryPage, Refusal>,
    effects: &mut Effects,
) {
    match outcome {
        Ok(page) => {
            let items = page.items.iter().map(|(serial, message)| message.to_item(channel, Some(*serial))).collect();
            let ok = events::HistoryPage { epoch: page.head.epoch, items, more: page.more };
            effects.push(Effect::SendPage(ok_text(id, &ok)));
        }
        Err(refusal) => refuse(id, &refusal, effects),
    }
}
