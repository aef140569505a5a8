//! Reading what is kept of a client, and which of the nodes that told it are alive.

use std::collections::{HashMap, HashSet};

use redis::FromRedisValue;

use super::*;

impl SharedTrace {
    pub(super) async fn find(&self, place: &Place, message: &MessageId, now: Timestamp) -> Result<Kept, RedisFault> {
        // After Redis was away, nodes have yet to tell what they noted meanwhile.
        if !self.redis.is_settled(LAG).await? {
            return Err(RedisFault::Away("it is back, and not every node has told it what it knows".to_owned()));
        }
        let names = self.redis.names();
        let (courses, reach, publishes) = (
            names.courses(&place.app, &name(place)),
            names.trace_reach(&place.app),
            names.traced_publishes(&place.app),
        );
        let mut began = redis::cmd("HSETNX");
        began.arg(&reach).arg("since").arg(now.0);
        let publish = |is_ephemeral| {
            let (channel, message) = (place.channel.clone(), message.clone());
            let publish = Publish { app: place.app.clone(), channel, message, is_ephemeral };
            (publishes.clone(), Cmd::zscore(&publishes, member(&publish)))
        };
        let commands = vec![
            (courses.clone(), Cmd::hgetall(&courses)),
            (reach.clone(), began),
            (reach.clone(), Cmd::hgetall(&reach)),
            (names.telling_nodes(), Cmd::hgetall(names.telling_nodes())),
            publish(false),
            publish(true),
        ];
        let mut answers = self.redis.run(commands).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let mut found: HashMap<String, String> = read(next())?;
        next();
        let reach: HashMap<String, u64> = read(next())?;
        let gaps = self.gaps(read(next())?, now).await?;
        let publish = [false, true].into_iter().find(|_| next() != Value::Nil);

        let floor = found.remove("floor").and_then(|floor| floor.parse().ok()).unwrap_or(0);
        let floor = reach.into_values().fold(floor, u64::max);
        let count = found.len();
        let records: Vec<Record<Course>> =
            found.into_values().filter_map(|record| serde_json::from_str(&record).ok()).collect();
        // What another version wrote and this one cannot read may say anything.
        let reaches_back_to = if records.len() == count { Timestamp(floor) } else { now };
        let alive = self.alive(&records).await?;
        let with_node = |record: Record<Course>| (record.course, alive.contains(&record.node));
        let mut courses: Vec<_> = records.into_iter().map(with_node).collect();
        courses.sort_by_key(|(course, _)| course.began_at);
        Ok(Kept { courses, reaches_back_to, gaps, publish })
    }

    /// Times of which a node has not told everything: from when it had caught up last until it is known that it tells nothing more. Nodes of which nothing
    /// is kept any more are forgotten.
    async fn gaps(
        &self,
        nodes: HashMap<String, String>,
        now: Timestamp,
    ) -> Result<Vec<(Timestamp, Timestamp)>, RedisFault> {
        let (mut gaps, mut gone) = (Vec::new(), redis::cmd("HDEL"));
        gone.arg(self.redis.names().telling_nodes());
        let mut is_any_gone = false;
        for (node, told) in nodes {
            let told = told.split_once(' ').and_then(|(from, at)| Some((from.parse().ok()?, at.parse().ok()?)));
            match told {
                Some((from, at)) if Timestamp(at) >= now.before(KEPT) => {
                    gaps.push((Timestamp(from), Timestamp(at).after(NODE_LASTS)));
                }
                _ => {
                    gone.arg(node);
                    is_any_gone = true;
                }
            }
        }
        if is_any_gone {
            self.redis.run(vec![(self.redis.names().telling_nodes(), gone)]).await?;
        }
        Ok(gaps)
    }

    /// Those of the nodes that are alive and may tell more.
    async fn alive(&self, records: &[Record<Course>]) -> Result<HashSet<String>, RedisFault> {
        let open = records.iter().filter(|record| record.course.end.is_none());
        let nodes: Vec<String> = open.map(|record| record.node.clone()).collect::<HashSet<_>>().into_iter().collect();
        if nodes.is_empty() {
            return Ok(HashSet::new());
        }
        let asked = nodes.iter().map(|node| {
            let key = self.redis.names().telling_node(node);
            let command = Cmd::exists(&key);
            (key, command)
        });
        let answers = self.redis.run(asked.collect()).await?;
        Ok(nodes
            .into_iter()
            .zip(answers)
            .filter(|(_, answer)| *answer == Value::Int(1))
            .map(|(node, _)| node)
            .collect())
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, RedisFault> {
    redis::from_redis_value(answer).map_err(|error| RedisFault::Refused(error.to_string()))
}
