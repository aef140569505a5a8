//! Sending: one pipeline a shard, one call of a script a channel, which moves the head and the hot window forward and publishes.

use std::{collections::HashMap, sync::LazyLock};

use fanfare_domain::{
    bus::{Ahead, Broadcast},
    ids::AppId,
    messages::Envelope,
};
use fanfare_protocol::ChannelName;
use futures::future::join_all;

use crate::{
    envelopes::sent,
    names::Names,
    redis::{Call, Redis, RedisFault, Script, heads, layouts::Layout, refused, scripts},
};

/// A hot window keeps at most so many messages …
const WINDOW_MESSAGES: u64 = 256;
/// … and so many bytes …
const WINDOW_BYTES: u64 = 512 * 1024;
/// … for so long after the last one.
const WINDOW_S: u64 = 120;
/// A head is kept for so long after its last message.
const HEAD_S: u64 = 86_400;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("send.lua")));

/// What goes to one shard: a call a channel, in the order of their first messages.
#[derive(Default)]
struct Batch<'a> {
    calls: Vec<Call>,
    /// Whose messages each call sends.
    about: Vec<Option<&'a Envelope>>,
    by_name: HashMap<String, usize>,
}

impl<'a> Batch<'a> {
    fn add(
        &mut self,
        names: &Names,
        name: String,
        publish: &str,
        of: Option<(&AppId, &ChannelName)>,
        about: Option<&'a Envelope>,
        envelope: Vec<u8>,
    ) {
        let at = *self.by_name.entry(name).or_insert_with_key(|name| {
            let mut call = Call::on(name.as_str()).arg(publish);
            if let Some((app, channel)) = of {
                call.keys.push(names.head(app, channel));
                call.keys.push(names.window(app, channel));
            }
            let bounds = [WINDOW_MESSAGES, WINDOW_BYTES, WINDOW_S, HEAD_S];
            self.calls.push(bounds.into_iter().fold(call, Call::number));
            self.about.push(about);
            self.calls.len() - 1
        });
        let (epoch, serial) = match about.and_then(|envelope| envelope.place.as_ref()) {
            Some((epoch, serial)) => (epoch.as_str().to_owned(), serial.0.to_string()),
            None => Default::default(),
        };
        self.calls[at].args.extend([epoch.into_bytes(), serial.into_bytes(), envelope]);
    }

    async fn send(self, redis: &Redis, layout: &Layout, shard: usize) -> Result<Vec<Ahead>, RedisFault> {
        let answers = scripts::run(layout.link(shard), &SCRIPT, &self.calls).await?;
        redis.check(&answers);
        let mut ahead = Vec::new();
        for (answer, about) in answers.into_iter().zip(self.about) {
            let head = heads::read(&refused(answer)?);
            if let (Some(head), Some(about)) = (head, about) {
                ahead.push(Ahead { app: about.app.clone(), channel: about.channel.clone(), head });
            }
        }
        Ok(ahead)
    }
}

/// Sends to all shards at once. A failure of one does not hold back what goes to the others.
pub(super) async fn send(redis: &Redis, broadcasts: &[Broadcast]) -> Result<Vec<Ahead>, RedisFault> {
    let layout = redis.layout().await?;
    let (topology, names) = (&layout.topology, redis.names());
    let publish = if topology.is_cluster { "SPUBLISH" } else { "PUBLISH" };
    let mut batches: Vec<Batch> = topology.shards.iter().map(|_| Batch::default()).collect();
    for broadcast in broadcasts {
        let envelope = sent::encode(broadcast);
        match broadcast {
            Broadcast::Message(message) => {
                let name = names.messages(&message.app, &message.channel);
                batches[topology.shard_of(&name)?].add(
                    names,
                    name,
                    publish,
                    Some((&message.app, &message.channel)),
                    Some(message),
                    envelope,
                );
            }
            Broadcast::Presence(event) => {
                let of = (&event.place.app, &event.place.channel);
                let name = names.messages(of.0, of.1);
                batches[topology.shard_of(&name)?].add(names, name, publish, Some(of), None, envelope);
            }
            Broadcast::AppChanged(_) | Broadcast::KeyRevoked(_) | Broadcast::Revision(_) => {
                let name = names.control();
                batches[topology.shard_of(&name)?].add(names, name, publish, None, None, envelope);
            }
            Broadcast::Beat(_) => {
                for (shard, batch) in batches.iter_mut().enumerate() {
                    batch.add(names, layout.beats(shard).to_owned(), publish, None, None, envelope.clone());
                }
            }
        }
    }
    let filled = batches.into_iter().enumerate().filter(|(_, batch)| !batch.calls.is_empty());
    let sent = join_all(filled.map(|(shard, batch)| batch.send(redis, &layout, shard))).await;
    Ok(sent.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
