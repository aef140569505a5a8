//! Attributes of channels, which `info` asks for.

use fanfare_domain::{
    Refusal,
    capabilities::Right,
    grants::Grant,
    history::Visible,
    occupancy::{Counts, Place},
    rules::Retention,
};
use fanfare_protocol::{
    ErrorCode,
    pusher::{Access, PusherChannel, text_of},
    requests::Range,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::PusherError;
use crate::services::Services;

/// How long the last event of a cache channel is given out, in seconds.
const CACHED_S: u64 = 1_800;

/// Which attributes are asked for. What Pusher does not have is passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub user_count: bool,
    pub subscription_count: bool,
    pub cache: bool,
}

impl Asked {
    /// Reads `user_count,subscription_count,cache`.
    pub fn parse(info: Option<&str>) -> Self {
        let asked = |name| info.is_some_and(|info| info.split(',').any(|part| part.trim() == name));
        Self { user_count: asked("user_count"), subscription_count: asked("subscription_count"), cache: asked("cache") }
    }

    /// Whether anything is asked for that has to be counted.
    pub fn is_count(self) -> bool {
        self.user_count || self.subscription_count
    }

    /// What of a channel is told: its users only if it has members, its subscriptions only if the app counts them.
    pub fn of(self, channel: &PusherChannel, counts: Counts, grant: &Grant) -> Attributes {
        let is_counted = self.subscription_count && grant.profile.app.pusher.subscription_counts;
        Attributes {
            user_count: (self.user_count && channel.access == Access::Presence).then_some(counts.members),
            subscription_count: is_counted.then_some(counts.subscribers),
        }
    }

    /// Refuses what the key may not know.
    pub fn require(self, grant: &Grant, channel: &PusherChannel) -> Result<(), Refusal> {
        if !is_told_of(grant, channel) {
            grant.require(Right::Subscribe, &channel.name)?;
        }
        if self.user_count && channel.access == Access::Presence {
            grant.require(Right::Presence, &channel.name)?;
        }
        if self.cache {
            grant.require(Right::Subscribe, &channel.name)?;
        }
        Ok(())
    }
}

/// Whether the key may know whether a channel is occupied.
pub(super) fn is_told_of(grant: &Grant, channel: &PusherChannel) -> bool {
    let rights = grant.rights(&channel.name);
    rights.has(Right::Subscribe) || rights.has(Right::Admin)
}

/// Attributes of a channel: those that were asked for, and that it has.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Attributes {
    /// The distinct users of a presence channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_count: Option<u64>,
    /// The connections that subscribe, if the app's `subscription_counts` is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<u64>,
}

/// The last event of a cache channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cached {
    /// Its data, as it was published.
    data: String,
    /// For how long it is given out still, in seconds.
    ttl: u64,
}

/// How occupied channels are, in their order.
pub(super) async fn counts(
    services: &Services,
    grant: &Grant,
    channels: &[PusherChannel],
) -> Result<Vec<Counts>, Refusal> {
    let app = &grant.profile.app.id;
    let places: Vec<Place> = channels.iter().map(|channel| (app.clone(), channel.name.clone())).collect();
    Ok(services.ports.census.counts(&places).await?)
}

/// The last event of a channel, if it is a cache channel whose history is kept.
pub(super) async fn cached(
    services: &Services,
    grant: &Grant,
    channel: &PusherChannel,
) -> Result<Option<Cached>, PusherError> {
    let Some(kept) = grant.profile.rule(&channel.name).history.filter(|_| channel.is_cache) else { return Ok(None) };
    let retention = Retention { retention_s: kept.retention_s.min(CACHED_S), ..kept };
    let visible = Visible { retention, now: services.now() };
    let app = &grant.profile.app.id;
    let page = services.ports.log.read(app, &channel.name, Range::Newest, 1, visible).await?;
    let page = page.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
    Ok(page.items.into_iter().next().map(|(_, message)| {
        let age_s = visible.now.0.saturating_sub(message.time.0) / 1_000;
        Cached { data: text_of(&message.data).into_owned(), ttl: retention.retention_s.saturating_sub(age_s) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_separated_by_commas_and_strange_ones_passed_over() {
        let (none, users) = (Asked::default(), Asked { user_count: true, ..Asked::default() });
        assert_eq!(Asked::parse(None), none);
        assert_eq!(Asked::parse(Some("")), none);
        assert_eq!(Asked::parse(Some("user_counts,later")), none);
        assert_eq!(Asked::parse(Some("user_count")), users);
        assert_eq!(Asked::parse(Some(" cache, user_count,")), Asked { cache: true, ..users });
    }
}
