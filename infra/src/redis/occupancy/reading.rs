//! Reading what all nodes that are alive count.

use std::collections::HashMap;

use fanfare_domain::{
    ids::AppId,
    occupancy::{COUNTS_SETTLE, Listed, Place, Wanted},
};
use fanfare_protocol::ChannelName;
use redis::{Cmd, FromRedisValue, Value};

use super::{Node, sweeping::Leftover};
use crate::{
    names::Names,
    redis::{RedisFault, refused},
};

/// Channels that are counted in one pipeline.
const CHANNELS_AT_ONCE: usize = 1_000;
/// Names that are looked at in one step of a list, and the most steps for one page.
const NAMES_AT_ONCE: usize = 200;
const STEPS: usize = 10;

/// The nodes, as Redis knows them.
pub(super) struct Nodes {
    known: HashMap<String, Generations>,
}

/// The generations of a node that is alive.
struct Generations {
    newest: u64,
    counted: u64,
}

impl Nodes {
    fn read(entries: HashMap<String, String>, now_ms: u64) -> Self {
        let generations = |entry: &str| {
            let mut numbers = entry.split(' ').map(|number| number.parse::<u64>().ok());
            let (newest, counted, ends) = (numbers.next()??, numbers.next()??, numbers.next()??);
            (ends > now_ms).then_some(Generations { newest, counted })
        };
        let alive = entries.into_iter().filter_map(|(node, entry)| Some((node, generations(&entry)?)));
        Self { known: alive.collect() }
    }

    fn of<'a>(&self, field: &'a str) -> Option<(&Generations, u64)> {
        let (node, generation): (&'a str, _) = field.split_once(' ')?;
        Some((self.known.get(node)?, generation.parse().ok()?))
    }

    /// Whether what lies under that field is counted.
    fn counts(&self, field: &str) -> bool {
        self.of(field).is_some_and(|(known, generation)| generation == known.counted)
    }

    /// Whether it is, or may be once all of it is told.
    pub fn may_tell(&self, field: &str) -> bool {
        self.of(field).is_some_and(|(known, generation)| generation == known.counted || generation >= known.newest)
    }
}

impl Node {
    /// The subscriptions of each channel.
    pub(super) async fn count(&self, places: &[Place]) -> Result<Vec<u64>, RedisFault> {
        self.require_settled().await?;
        self.read(places).await
    }

    /// A page of an app's occupied channels. It is read in small steps, so that a large app is not read at once.
    pub(super) async fn list(&self, app: &AppId, wanted: &Wanted) -> Result<Listed, RedisFault> {
        self.require_settled().await?;
        let mut channels: Vec<(ChannelName, u64)> = Vec::new();
        let mut step = Wanted { limit: NAMES_AT_ONCE, ..wanted.clone() };
        for _ in 0..STEPS {
            let names = self.names(app, &step).await?;
            let (is_last, last) = (names.len() < NAMES_AT_ONCE, names.last().map(ToString::to_string));
            let places: Vec<Place> = names.into_iter().map(|channel| (app.clone(), channel)).collect();
            let counts = self.read(&places).await?;
            let (occupied, empty): (Vec<_>, Vec<_>) = places.into_iter().zip(counts).partition(|(_, count)| *count > 0);
            let empty: Vec<_> = empty.into_iter().map(|(place, _)| place).collect();
            self.forget_if_empty(&empty).await?;
            for ((_, channel), count) in occupied {
                if channels.len() == wanted.limit {
                    let next = channels.last().map(|(channel, _)| channel.to_string());
                    return Ok(Listed { channels, next });
                }
                channels.push((channel, count));
            }
            if is_last {
                return Ok(Listed { channels, next: None });
            }
            step.after = last;
        }
        Ok(Listed { channels, next: step.after })
    }

    /// What Redis lost, if it was away, every node has told again by now.
    async fn require_settled(&self) -> Result<(), RedisFault> {
        if self.redis.is_settled(COUNTS_SETTLE).await? {
            return Ok(());
        }
        Err(RedisFault::Away("it has only just come back".to_owned()))
    }

    /// The subscriptions of each channel; what is found that is nobody's is removed.
    pub(super) async fn read(&self, places: &[Place]) -> Result<Vec<u64>, RedisFault> {
        let mut counts = Vec::with_capacity(places.len());
        for places in places.chunks(CHANNELS_AT_ONCE) {
            let mut leftovers = Vec::new();
            let mut commands: Vec<_> = places.iter().map(|place| ask(self.redis.names(), place)).collect();
            commands.extend(ask_nodes(self.redis.names()));
            let mut answers = self.run(commands).await?;
            let nodes = read_nodes(answers.split_off(places.len()))?;
            for (place, answer) in places.iter().zip(answers) {
                let told: HashMap<String, u64> = read(answer)?;
                counts.push(told.iter().filter(|(field, _)| nodes.counts(field)).map(|(_, count)| count).sum());
                let over = told.into_keys().filter(|field| !nodes.may_tell(field));
                leftovers.extend(over.map(|field| Leftover { place: place.clone(), field }));
            }
            // What cannot be removed now is removed by the next who comes across it.
            let _ = self.remove(leftovers).await;
        }
        Ok(counts)
    }

    pub(super) async fn nodes(&self) -> Result<Nodes, RedisFault> {
        read_nodes(self.run(ask_nodes(self.redis.names()).into()).await?)
    }

    /// Names of channels that are or were occupied, in their order.
    pub(super) async fn names(&self, app: &AppId, wanted: &Wanted) -> Result<Vec<ChannelName>, RedisFault> {
        let key = self.redis.names().occupied(app);
        let from = match &wanted.after {
            Some(after) if *after >= wanted.prefix => format!("({after}"),
            _ if wanted.prefix.is_empty() => "-".to_owned(),
            _ => format!("[{}", wanted.prefix),
        };
        // No name holds that octet.
        let to =
            if wanted.prefix.is_empty() { b"+".to_vec() } else { [b"(", wanted.prefix.as_bytes(), b"\xff"].concat() };
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(&key).arg(from).arg(to).arg("LIMIT").arg(0).arg(wanted.limit);
        let answer = self.run(vec![(key, command)]).await?.pop().unwrap_or(Value::Nil);
        let names: Vec<String> = read(answer)?;
        Ok(names.iter().filter_map(|name| ChannelName::restore(name).ok()).collect())
    }
}

fn ask(names: &Names, (app, channel): &Place) -> (String, Cmd) {
    let key = names.subscriptions(app, channel);
    let command = Cmd::hgetall(&key);
    (key, command)
}

/// After the counts, in the same pipeline where they are on the same server: whose counts are seen is then known too.
fn ask_nodes(names: &Names) -> [(String, Cmd); 2] {
    let key = names.counting_nodes();
    [(key.clone(), Cmd::hgetall(&key)), (key, redis::cmd("TIME"))]
}

fn read_nodes(answers: Vec<Value>) -> Result<Nodes, RedisFault> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil);
    let entries = read(next())?;
    let (seconds, microseconds): (u64, u64) = read(next())?;
    Ok(Nodes::read(entries, seconds * 1_000 + microseconds / 1_000))
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, RedisFault> {
    redis::from_redis_value(refused(answer)?).map_err(|error| RedisFault::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_counted_by_the_generation_that_was_told_whole_and_only_while_it_is_alive() {
        let entries = [("a", "3 2 2000"), ("b", "1 1 1000"), ("c", "what"), ("d", "4 0 2000")];
        let entries = entries.iter().map(|(node, entry)| ((*node).to_owned(), (*entry).to_owned())).collect();
        let nodes = Nodes::read(entries, 1_000);
        for (field, is_counted, may_tell) in [
            ("a 1", false, false),
            ("a 2", true, true),
            ("a 3", false, true),
            ("a 4", false, true),
            ("b 1", false, false),
            ("c 1", false, false),
            ("d 4", false, true),
            ("nobody 1", false, false),
            ("what", false, false),
        ] {
            assert_eq!((nodes.counts(field), nodes.may_tell(field)), (is_counted, may_tell), "{field}");
        }
    }
}
