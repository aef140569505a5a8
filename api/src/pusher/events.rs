//! Triggering an event on one or several channels.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, post, web::Data};
use fanfare_domain::{
    Refusal, capabilities::Right, grants::Grant, ids::ConnectionId, publishing::NewPublish, pusher::connection_of,
};
use fanfare_protocol::{
    ErrorCode, EventName,
    pusher::{PusherChannel, data_of},
    requests::Ack,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    PusherError,
    attributes::{Asked, Attributes, counts},
    refusals::{CALLERS, EVENTS, pusher_refusals},
    requests::{Parameters, Signed},
};
use crate::{
    answers::Answer, extract::parse, messages::offer, openapi::refusals::ANY, problems::ApiError, services::Services,
};

/// The most bytes that the data of an event may have, as Pusher has it.
const MAX_DATA_BYTES: usize = 10 * 1024;
/// The most channels of one event.
const MAX_CHANNELS: usize = 100;

/// An event to be triggered. Members that are not known are passed over; each may stand in the query instead, channels as `channels[]`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct NewEvent {
    /// Its name: 1 to 200 bytes. What begins with `pusher:` or `pusher_internal:` is refused.
    name: Option<String>,
    /// Its data: a string of at most 10,240 bytes, mostly JSON encoded once more.
    data: Option<String>,
    /// 1 to 100 channels.
    channels: Option<Vec<String>>,
    /// A channel, in place of `channels`.
    channel: Option<String>,
    /// The connection that is not to receive it.
    socket_id: Option<String>,
    /// Attributes to be answered with: `user_count`, `subscription_count`, separated by commas.
    info: Option<String>,
}

impl NewEvent {
    /// What stands in the query counts where the body says nothing.
    fn or(self, parameters: &Parameters) -> Self {
        let text = |name| parameters.get(name).map(str::to_owned);
        let named: Vec<_> = parameters.all("channels[]").chain(parameters.all("channels")).map(str::to_owned).collect();
        Self {
            name: self.name.or_else(|| text("name")),
            data: self.data.or_else(|| text("data")),
            channels: self.channels.or_else(|| (!named.is_empty()).then_some(named)),
            channel: self.channel.or_else(|| text("channel")),
            socket_id: self.socket_id.or_else(|| text("socket_id")),
            info: self.info.or_else(|| text("info")),
        }
    }

    fn checked(self) -> Result<Event, PusherError> {
        let missing = |name: &str| PusherError::bad(format!("`{name}` is missing"));
        let named = match (self.channels, self.channel) {
            (Some(channels), _) => channels,
            (None, Some(channel)) => vec![channel],
            (None, None) => return Err(missing("channels")),
        };
        if !(1..=MAX_CHANNELS).contains(&named.len()) {
            return Err(PusherError::bad(format!(
                "there are {} channels; 1 to {MAX_CHANNELS} are allowed",
                named.len()
            )));
        }
        let mut channels: Vec<PusherChannel> = Vec::with_capacity(named.len());
        for name in named {
            let channel = PusherChannel::parse(&name)
                .map_err(|bad| PusherError::new(ErrorCode::BadChannel, format!("{:?}: {bad}", shortened(&name))))?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        Ok(Event {
            name: event_name(&self.name.ok_or_else(|| missing("name"))?)?,
            data: checked_data(self.data.ok_or_else(|| missing("data"))?)?,
            channels,
            exclude: self.socket_id.as_deref().map(excluded).transpose()?,
            asked: Asked::parse(self.info.as_deref()),
        })
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(40).collect()
}

pub(super) fn event_name(name: &str) -> Result<EventName, PusherError> {
    if name.is_empty() {
        return Err(PusherError::bad("`name` is empty"));
    }
    if name.starts_with("pusher:") || name.starts_with("pusher_internal:") {
        return Err(PusherError::bad("names that begin with `pusher:` or `pusher_internal:` are the protocol's own"));
    }
    EventName::parse(name).map_err(|bad| PusherError::bad(bad.to_string()))
}

pub(super) fn checked_data(data: String) -> Result<String, PusherError> {
    match data.len() {
        size if size > MAX_DATA_BYTES => {
            let why = format!("`data` has {size} bytes; {MAX_DATA_BYTES} are allowed");
            Err(PusherError::new(ErrorCode::MessageTooLarge, why))
        }
        _ => Ok(data),
    }
}

pub(super) fn excluded(socket_id: &str) -> Result<ConnectionId, PusherError> {
    connection_of(socket_id).ok_or_else(|| PusherError::bad("`socket_id` is two numbers with a dot between them"))
}

/// An event that is as it should be.
pub(super) struct Event {
    pub name: EventName,
    pub data: String,
    pub channels: Vec<PusherChannel>,
    pub exclude: Option<ConnectionId>,
    pub asked: Asked,
}

impl Event {
    /// Refuses what the key may not do, on any of the channels, before anything is published.
    pub fn require(&self, grant: &Grant) -> Result<(), PusherError> {
        for channel in &self.channels {
            grant.require(Right::Publish, &channel.name)?;
            if self.asked.is_count() {
                Asked { cache: false, ..self.asked }.require(grant, channel)?;
            }
        }
        Ok(())
    }

    pub fn publishes(&self) -> impl Iterator<Item = NewPublish> {
        self.channels.iter().map(|channel| NewPublish {
            channel: channel.name.clone(),
            data: data_of(&self.data),
            name: Some(self.name.clone()),
            headers: None,
            client: None,
            ephemeral: false,
            exclude: self.exclude.clone(),
            idempotency_key: None,
            trace: None,
            keep_spaces: true,
        })
    }
}

/// Publishes events in order; the first refusal, by channel, is the answer.
pub(super) async fn publish(
    request: &HttpRequest,
    services: &Services,
    grant: &Grant,
    events: &[Event],
) -> Result<(), PusherError> {
    let count = events.iter().map(|event| event.channels.len()).sum();
    let wanted = || events.iter().flat_map(Event::publishes).map(Ok).collect();
    let results = offer(request, services, grant, count, wanted, Ack::Accepted).await?;
    let channels = events.iter().flat_map(|event| &event.channels);
    for (channel, result) in channels.zip(results) {
        result.map_err(|refusal| {
            let message = format!("{}: {}", channel.name, refusal.message);
            Refusal { message, ..refusal }
        })?;
    }
    Ok(())
}

/// Reads a body, or nothing.
pub(super) fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, PusherError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let text =
        std::str::from_utf8(body).map_err(|_| PusherError::new(ErrorCode::Malformed, "the body is not UTF-8"))?;
    parse(text).map_err(ApiError::from).map_err(PusherError::from)
}

/// What was asked for of the channels.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Triggered {
    /// By channel, if `info` asked for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<BTreeMap<String, Attributes>>,
}

pusher_refusals!(TriggerRefusals: CALLERS, EVENTS, ANY);

/// Trigger an event
///
/// On one channel or on up to 100, in order. Answered as soon as the messages are in a durable queue; like any others they have their place in the
/// channels' history. Data that is JSON is that JSON for native clients, any other a JSON string; Pusher's clients get it byte for byte.
/// Channel `#server-to-user-ID` reaches the connections that are signed in as that user. Needs the right `publish`.
#[utoipa::path(
    tag = "pusher",
    params(("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110")),
    request_body(content = NewEvent, example = json!({"name": "said", "channels": ["room"], "data": "{\"text\":\"hi\"}"})),
    responses(
        (status = 200, description = "Accepted: it will be delivered and kept.", body = Triggered, examples(
            ("plain" = (value = json!({}))),
            ("info" = (summary = "With `info`", value = json!({"channels": {"presence-room": {"user_count": 3, "subscription_count": 4}}})))
        )),
        TriggerRefusals
    ),
    security(("pusherSignature" = []))
)]
#[post("/apps/{app_id}/events")]
pub(crate) async fn trigger(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<Triggered>, PusherError> {
    let event = read::<NewEvent>(&signed.body)?.or(&signed.parameters).checked()?;
    event.require(&signed.grant)?;
    publish(&request, &services, &signed.grant, std::slice::from_ref(&event)).await?;
    if !event.asked.is_count() {
        return Ok(Answer::ok(Triggered::default()));
    }
    let counts = counts(&services, &signed.grant, &event.channels).await?;
    let channels = event.channels.iter().zip(counts);
    let told = channels
        .map(|(channel, counts)| (channel.name.as_str().to_owned(), event.asked.of(channel, counts, &signed.grant)));
    Ok(Answer::ok(Triggered { channels: Some(told.collect()) }))
}
