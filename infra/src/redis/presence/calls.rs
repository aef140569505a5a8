//! Calls of the scripts, and their answers.

use std::time::Duration;

use fanfare_domain::{
    ids::ConnectionId,
    presence::{Entry, Place},
};
use redis::{FromRedisValue, Value};
use serde_json::value::RawValue;

use super::{local::Session, node::Node};
use crate::redis::{Call, RedisFault, refused, scripts};

/// What a channel's script answers.
#[derive(Debug)]
pub(super) enum Word {
    /// It is done; when it was said, and since when the client is there.
    Ok { said: u64, since: u64 },
    /// The channel has as many members as it may.
    Full,
    /// The session is not there.
    Absent,
    /// The tenure is over.
    Fenced,
}

/// A text of JSON, or nothing.
fn text(value: Option<&RawValue>) -> &str {
    value.map_or("", RawValue::get)
}

pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, RedisFault> {
    redis::from_redis_value(value).map_err(|error| RedisFault::Refused(error.to_string()))
}

/// The answer of a script that changes a channel.
pub(super) fn word(answer: Value) -> Result<Word, RedisFault> {
    let parts: Vec<String> = read(refused(answer)?)?;
    let number = |at: usize| parts.get(at).and_then(|part| part.parse().ok()).unwrap_or(0);
    match parts.first().map(String::as_str) {
        Some("ok") => Ok(Word::Ok { said: number(1), since: number(2) }),
        Some("full") => Ok(Word::Full),
        Some("absent") => Ok(Word::Absent),
        Some("fenced") => Ok(Word::Fenced),
        _ => Err(RedisFault::Refused("a script answered something else".to_owned())),
    }
}

impl Node {
    /// A call on a channel, in the name of a holder.
    pub fn on_channel(&self, asked: &str, publish: &str, place: &Place, holder: &str) -> Call {
        let Place { app, channel } = place;
        let call = Call { keys: self.redis.names().presence(app, channel, holder), ..Call::default() };
        let head = format!("{{\"v\":1,\"presence\":{{\"app\":\"{app}\",\"channel\":\"{channel}\"");
        call.arg(asked).arg(publish).arg(head).arg(holder)
    }

    /// The word by which events are published.
    pub async fn publish_word(&self) -> Result<&'static str, RedisFault> {
        let layout = self.redis.layout().await?;
        Ok(if layout.topology.is_cluster { "SPUBLISH" } else { "PUBLISH" })
    }

    pub async fn ask_channel(&self, call: Call) -> Result<Value, RedisFault> {
        self.redis.script(&self.channel, call).await
    }

    /// Several calls on one channel, in order.
    pub async fn ask_channel_often(&self, calls: &[Call]) -> Result<Vec<Value>, RedisFault> {
        let Some(key) = calls.first().and_then(|call| call.keys.first()) else { return Ok(Vec::new()) };
        let layout = self.redis.layout().await?;
        let answers = scripts::run(layout.link(layout.topology.shard_of(key)?), &self.channel, calls).await?;
        self.redis.check(&answers);
        answers.into_iter().map(refused).collect()
    }

    fn enter(&self, publish: &str, place: &Place, holder: &str, entry: &Entry) -> Call {
        self.on_channel("enter", publish, place, holder)
            .arg(entry.client.as_str())
            .arg(entry.connection.as_str())
            .arg(text(entry.data.as_deref()))
            .arg(text(entry.info.as_deref()))
    }

    pub async fn call_enter(&self, place: &Place, holder: &str, entry: &Entry, most: u32) -> Result<Word, RedisFault> {
        let publish = self.publish_word().await?;
        let call = self.enter(publish, place, holder, entry).number(most.into()).arg("").arg("").arg("0");
        word(self.ask_channel(call).await?)
    }

    /// A session is named again.
    pub fn name_again(&self, publish: &str, place: &Place, holder: &str, session: &Session) -> Call {
        let call = self.enter(publish, place, holder, &session.entry).number(0);
        call.number(session.since).number(session.said).number(self.times.settling.as_millis() as u64)
    }

    pub async fn call_update(&self, place: &Place, holder: &str, entry: &Entry) -> Result<Word, RedisFault> {
        let publish = self.publish_word().await?;
        let call = self.on_channel("update", publish, place, holder);
        let call = call.arg(entry.client.as_str()).arg(entry.connection.as_str());
        let call = call.arg(text(entry.data.as_deref())).arg(text(entry.info.as_deref()));
        word(self.ask_channel(call).await?)
    }

    pub async fn call_leave(
        &self,
        place: &Place,
        holder: &str,
        connection: &ConnectionId,
        grace: Duration,
        data: Option<Box<RawValue>>,
    ) -> Result<Word, RedisFault> {
        let publish = self.publish_word().await?;
        let call = self.on_channel("leave", publish, place, holder).arg(connection.as_str());
        let call = call.number(grace.as_millis() as u64).arg(text(data.as_deref()));
        word(self.ask_channel(call).await?)
    }

    /// A call on the registry, in the name of a holder.
    pub fn on_registry(&self, asked: &str, holder: &str) -> Call {
        let call = Call { keys: self.redis.names().holders(holder), ..Call::default() };
        let (lease, settling) = (self.times.lease.as_millis() as u64, self.times.settling.as_millis() as u64);
        call.arg(asked).arg(holder).number(lease).number(settling)
    }

    pub async fn ask_registry<T: FromRedisValue>(&self, call: Call) -> Result<T, RedisFault> {
        read(self.redis.script(&self.registry, call).await?)
    }
}
