//! The names of occupied channels, and removing what is nobody's: names without counts, and counts of generations that are over.

use std::collections::{HashMap, HashSet};

use fanfare_domain::{
    ids::AppId,
    occupancy::{Place, Wanted},
};
use redis::{Cmd, Value};

use super::{Node, telling::FORGOTTEN_AFTER};
use crate::redis::RedisFault;

/// Names that are looked at in one sweep.
const SWEPT_AT_ONCE: usize = 500;

/// A count of a generation that seemed to be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leftover {
    pub place: Place,
    pub field: String,
}

/// Whose names were last swept, and how far.
#[derive(Debug, Default)]
pub(super) struct Turn {
    app: Option<AppId>,
    after: Option<String>,
}

impl Node {
    /// Makes channels known as occupied.
    pub(super) async fn name_occupied(&self, places: &[Place]) -> Result<(), RedisFault> {
        let mut apps: HashMap<&AppId, Vec<(u8, &str)>> = HashMap::new();
        for (app, channel) in places {
            apps.entry(app).or_default().push((0, channel.as_str()));
        }
        let mut commands = Vec::with_capacity(apps.len() * 2);
        for (app, names) in apps {
            let key = self.redis.names().occupied(app);
            commands.push((key.clone(), Cmd::zadd_multiple(&key, &names)));
            commands.push((key.clone(), Cmd::pexpire(&key, FORGOTTEN_AFTER.as_millis() as i64)));
        }
        if commands.is_empty() { Ok(()) } else { self.run(commands).await.map(drop) }
    }

    /// Removes the names of those of the channels that nobody counts anything of. A node that counts something meanwhile names the channel
    /// after its count, so what is counted after the removal is named again, by it or by us.
    pub(super) async fn forget_if_empty(&self, places: &[Place]) -> Result<(), RedisFault> {
        let empty = self.split(places).await?.0;
        if empty.is_empty() {
            return Ok(());
        }
        let removal = |(app, channel): &Place| {
            let key = self.redis.names().occupied(app);
            let command = Cmd::zrem(&key, channel.as_str());
            (key, command)
        };
        self.run(empty.iter().map(removal).collect()).await?;
        let occupied = self.split(&empty).await?.1;
        self.name_occupied(&occupied).await
    }

    /// The channels without any counts, and those with some.
    async fn split(&self, places: &[Place]) -> Result<(Vec<Place>, Vec<Place>), RedisFault> {
        if places.is_empty() {
            return Ok(Default::default());
        }
        let asked = |(app, channel): &Place| {
            let key = self.redis.names().subscriptions(app, channel);
            let command = Cmd::exists(&key);
            (key, command)
        };
        let answers = self.run(places.iter().map(asked).collect()).await?;
        let (empty, others): (Vec<_>, Vec<_>) =
            places.iter().cloned().zip(answers).partition(|(_, answer)| *answer == Value::Int(0));
        let places = |pairs: Vec<(Place, Value)>| pairs.into_iter().map(|(place, _)| place).collect();
        Ok((places(empty), places(others)))
    }

    /// Removes counts that are nobody's. Whether they are is looked at once more: a node is known before it tells anything.
    pub(super) async fn remove(&self, leftovers: Vec<Leftover>) -> Result<(), RedisFault> {
        let nodes = self.nodes().await?;
        let over: Vec<_> = leftovers.into_iter().filter(|leftover| !nodes.may_tell(&leftover.field)).collect();
        if over.is_empty() {
            return Ok(());
        }
        let removal = |leftover: &Leftover| {
            let key = self.redis.names().subscriptions(&leftover.place.0, &leftover.place.1);
            let command = Cmd::hdel(&key, &leftover.field);
            (key, command)
        };
        self.run(over.iter().map(removal).collect()).await?;
        let places: HashSet<_> = over.into_iter().map(|leftover| leftover.place).collect();
        self.forget_if_empty(&places.into_iter().collect::<Vec<_>>()).await
    }

    /// Looks at some more names of the apps that this node counts something of, in turn, so that those go which a killed node has left.
    pub(super) async fn sweep(&self, turn: &mut Turn) -> Result<(), RedisFault> {
        let app = match turn.app.take() {
            Some(app) if turn.after.is_some() => Some(app),
            last => self.book().app_after(last.as_ref()).cloned(),
        };
        let Some(app) = app else { return Ok(()) };
        turn.app = Some(app.clone());
        let wanted = Wanted { prefix: String::new(), after: turn.after.take(), limit: SWEPT_AT_ONCE };
        let names = self.names(&app, &wanted).await?;
        if names.len() == SWEPT_AT_ONCE {
            turn.after = names.last().map(ToString::to_string);
        }
        let places: Vec<Place> = names.into_iter().map(|channel| (app.clone(), channel)).collect();
        // Reading them removes what is nobody's.
        self.read(&places).await?;
        self.forget_if_empty(&places).await
    }
}
