//! Channels: how occupied they are, and where they stand.

use actix_web::{
    HttpRequest, get,
    web::{Data, ServiceConfig},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_domain::{
    Refusal,
    capabilities::Right,
    grants::Grant,
    history::Head,
    occupancy::{Counts, Place, Wanted},
};
use fanfare_protocol::{ChannelName, Epoch, ErrorCode, Serial};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{Caller, OnChannel, Query, Then},
    limits::take_read,
    lists::{List, wanted},
    openapi::refusals::{ANY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_channels).service(show_channel);
}

/// A channel: how occupied it is, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channel {
    /// The channel.
    #[schema(value_type = String)]
    channel: ChannelName,
    /// Its subscriptions, on all nodes; a connection counts once.
    subscribers: u64,
    /// Its presence members.
    members: u64,
    /// Its epoch; serials of another one mean nothing here.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// The serial of its last message; 0 where there was none yet.
    #[schema(value_type = u64)]
    serial: Serial,
}

impl Channel {
    fn new(channel: ChannelName, counts: Counts, head: Head) -> Self {
        let Counts { subscribers, members } = counts;
        Self { channel, subscribers, members, epoch: head.epoch, serial: head.serial }
    }
}

/// What a channel's name begins with.
fn prefix(query: &Query) -> Result<String, ApiError> {
    match query.text("prefix")? {
        None | Some("") => Ok(String::new()),
        Some(prefix) if ChannelName::parse(prefix).is_ok() => Ok(prefix.to_owned()),
        Some(_) => Err(ApiError::field("/prefix", "is not what a channel's name can begin with")),
    }
}

fn is_listed_for(grant: &Grant, channel: &ChannelName) -> bool {
    grant.rights(channel).has(Right::Admin)
}

refusals!(ListRefusals: DATA, &[ErrorCode::InvalidBody], ANY);

/// List occupied channels
///
/// Channels that somebody subscribes to, ordered by name as bytes; only those on which the key has the right `admin`. A page may hold fewer than
/// `limit` channels although there are more: the list ends where `next` is `null`. A channel that becomes occupied or free meanwhile may be
/// missing or not. Takes from the same rate as reads of history. Needs an API key.
#[utoipa::path(
    tag = "channels",
    params(
        ("prefix" = Option<String>, Query, description = "Only channels whose names begin with it.", example = "chat:"),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "A page of channels.", body = List<Channel>, example = json!({
            "items": [{"channel": "chat:1", "subscribers": 2, "members": 0, "epoch": "x7Gq0bTz1A", "serial": 17}],
            "next": null
        })),
        ListRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[get("/v1/channels")]
pub(crate) async fn list_channels(
    request: HttpRequest,
    input: Then<Caller, Query>,
    services: Data<Services>,
) -> Result<Answer<List<Channel>>, ApiError> {
    let Then(caller, query) = input;
    let key = caller.require_key()?;
    let (prefix, page) = (prefix(&query)?, wanted(&query)?);
    if !key.capability.anywhere(Right::Admin) {
        return Err(ApiError::new(ErrorCode::Forbidden, "the key has the right `admin` on no channel"));
    }
    let profile = &caller.grant.profile;
    take_read(&request, &services, profile, "reads of history and channels")?;

    let app = &profile.app.id;
    let asked = Wanted { prefix, after: page.after, limit: page.limit as usize - 1 };
    let (mut channels, next) = services.ports.census.list(app, &asked).await.map_err(Refusal::from)?;
    channels.retain(|(channel, _)| is_listed_for(&caller.grant, channel));
    let places: Vec<Place> = channels.iter().map(|(channel, _)| (app.clone(), channel.clone())).collect();
    let heads = services.ports.log.heads(&places).await?;
    // Reading may have taken its time.
    services.ports.enforcement.require_good(&caller.grant).await?;
    let items = channels.into_iter().zip(heads);
    let items = items.filter_map(|((channel, counts), head)| Some(Channel::new(channel, counts, head?))).collect();
    Ok(Answer::ok(List { items, next: next.map(|last| BASE64_URL_SAFE_NO_PAD.encode(last)) }))
}

refusals!(ShowRefusals: DATA, &[ErrorCode::NotFound, ErrorCode::BadChannel], ANY);

/// Show a channel
///
/// How occupied it is and where it stands; a channel that was never used has no subscribers and serial 0. Takes from the same rate as reads of
/// history. Needs an API key with the right `subscribe` or `admin`.
#[utoipa::path(
    tag = "channels",
    params(("channel" = String, Path, description = "The channel, percent-encoded.", example = "chat:1")),
    responses(
        (status = 200, description = "The channel.", body = Channel, example = json!({
            "channel": "chat:1", "subscribers": 2, "members": 0, "epoch": "x7Gq0bTz1A", "serial": 17
        })),
        ShowRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[get("/v1/channels/{channel}")]
pub(crate) async fn show_channel(
    request: HttpRequest,
    OnChannel { caller, channel }: OnChannel,
    services: Data<Services>,
) -> Result<Answer<Channel>, ApiError> {
    caller.require_key()?;
    if !is_listed_for(&caller.grant, &channel) {
        caller.grant.require(Right::Subscribe, &channel)?;
    }
    let profile = &caller.grant.profile;
    take_read(&request, &services, profile, "reads of history and channels")?;

    let place = (profile.app.id.clone(), channel);
    let counts = services.ports.census.counts(std::slice::from_ref(&place)).await.map_err(Refusal::from)?;
    let head =
        services.ports.log.head(&place.0, &place.1).await?.ok_or_else(|| ApiError::plain(ErrorCode::NotFound))?;
    // Reading may have taken its time.
    services.ports.enforcement.require_good(&caller.grant).await?;
    Ok(Answer::ok(Channel::new(place.1, counts.first().copied().unwrap_or_default(), head)))
}
