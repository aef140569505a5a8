//! Which channels are occupied, and what is known of one.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, get, web::Data};
use fanfare_domain::{Refusal, occupancy::Wanted};
use fanfare_protocol::{
    ErrorCode,
    pusher::{Access, PusherChannel},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    PusherError,
    attributes::{Asked, Attributes, Cached, cached, counts, is_told_of},
    refusals::{CALLERS, pusher_refusals},
    requests::{Signed, channel_of},
};
use crate::{answers::Answer, limits::take_read, openapi::refusals::ANY, services::Services};

/// How many channels are asked for at once.
const PAGE_CHANNELS: usize = 1_000;
/// What the names of channels with members begin with.
const PRESENCE: &str = "presence-";

/// Occupied channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OccupiedChannels {
    /// What `info` asked for, by channel.
    channels: BTreeMap<String, Attributes>,
}

pusher_refusals!(ListRefusals: CALLERS, &[ErrorCode::InvalidBody], ANY);

/// List occupied channels, for Pusher's libraries
///
/// All channels that somebody subscribes to and that Pusher has a name for. Takes from the same rate as reads of history. The key
/// needs the right `subscribe` or `admin` on a channel to see it, and `presence` for its users.
#[utoipa::path(
    tag = "pusher",
    params(
        ("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110"),
        ("filter_by_prefix" = Option<String>, Query, description = "Only channels whose names begin with it.", example = "presence-"),
        ("info" = Option<String>, Query, description = "Attributes, separated by commas: `user_count`, for which the prefix must begin with `presence-`, and `subscription_count`.")
    ),
    responses(
        (status = 200, description = "The channels.", body = OccupiedChannels, example = json!({"channels": {"presence-room": {"user_count": 3}}})),
        ListRefusals
    ),
    security(("pusherSignature" = []))
)]
#[get("/apps/{app_id}/channels")]
pub(crate) async fn list_channels(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<OccupiedChannels>, PusherError> {
    let grant = &signed.grant;
    let prefix = signed.parameters.get("filter_by_prefix").unwrap_or_default();
    let asked = Asked::parse(signed.parameters.get("info"));
    if asked.user_count && !prefix.starts_with(PRESENCE) {
        return Err(PusherError::bad("`user_count` needs a `filter_by_prefix` that begins with `presence-`"));
    }
    take_read(&request, &services, &grant.profile, "reads of history and channels")?;
    let mut channels = BTreeMap::new();
    // No channel's name begins with anything else.
    let mut after = (prefix.is_empty() || PusherChannel::parse(prefix).is_ok()).then_some(None);
    while let Some(last) = after {
        let wanted = Wanted { prefix: prefix.to_owned(), after: last, limit: PAGE_CHANNELS };
        let (page, next) = services.ports.census.list(&grant.profile.app.id, &wanted).await.map_err(Refusal::from)?;
        for (name, counts) in page {
            let Ok(channel) = PusherChannel::parse(name.as_str()) else { continue };
            if is_told_of(grant, &channel) && asked.require(grant, &channel).is_ok() {
                channels.insert(name.as_str().to_owned(), asked.of(&channel, counts, grant));
            }
        }
        after = next.map(Some);
    }
    // Reading may have taken its time.
    services.ports.enforcement.require_good(grant).await?;
    Ok(Answer::ok(OccupiedChannels { channels }))
}

/// What is known of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelState {
    /// Whether somebody subscribes to it.
    occupied: bool,
    #[serde(flatten)]
    attributes: Attributes,
    /// The last event of a cache channel; `null` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Option<Cached>>,
}

pusher_refusals!(ShowRefusals: CALLERS, &[ErrorCode::InvalidBody, ErrorCode::BadChannel], ANY);

/// Show a channel, for Pusher's libraries
///
/// Whether it is occupied, and what `info` asks for. The last event of a cache channel is given for 30 minutes at most, and not where the channel's rule keeps
/// no history. Takes from the same rate as reads of history. The key needs the right `subscribe` or `admin`, and `presence` for users.
#[utoipa::path(
    tag = "pusher",
    params(
        ("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110"),
        ("channel" = String, Path, description = "The channel.", example = "presence-room"),
        ("info" = Option<String>, Query, description = "Attributes, separated by commas: `user_count` of presence channels, `subscription_count`, `cache`.")
    ),
    responses(
        (status = 200, description = "The channel.", body = ChannelState, example = json!({"occupied": true, "user_count": 3, "subscription_count": 4})),
        ShowRefusals
    ),
    security(("pusherSignature" = []))
)]
#[get("/apps/{app_id}/channels/{channel}")]
pub(crate) async fn show_channel(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<ChannelState>, PusherError> {
    let grant = &signed.grant;
    let channel = channel_of(&request).await?;
    let asked = Asked::parse(signed.parameters.get("info"));
    if asked.user_count && channel.access != Access::Presence {
        return Err(PusherError::bad(format!("`user_count` is of presence channels, and `{}` is none", channel.name)));
    }
    asked.require(grant, &channel)?;
    take_read(&request, &services, &grant.profile, "reads of history and channels")?;
    let counts = counts(&services, grant, std::slice::from_ref(&channel)).await?;
    let counts = counts.first().copied().unwrap_or_default();
    let cache = if asked.cache { Some(cached(&services, grant, &channel).await?) } else { None };
    // Reading may have taken its time.
    services.ports.enforcement.require_good(grant).await?;
    let attributes = asked.of(&channel, counts, grant);
    Ok(Answer::ok(ChannelState { occupied: counts.subscribers > 0, attributes, cache }))
}
