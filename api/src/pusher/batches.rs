//! Triggering several events with one request.

use actix_web::{HttpRequest, post, web::Data};
use fanfare_protocol::{ErrorCode, pusher::PusherChannel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    PusherError,
    attributes::{Asked, Attributes, counts},
    events::{self, Event, checked_data, event_name, excluded, read},
    refusals::{CALLERS, EVENTS, pusher_refusals},
    requests::Signed,
};
use crate::{answers::Answer, openapi::refusals::ANY, services::Services};

/// The most events of a batch.
const MAX_EVENTS: usize = 10;

/// Events to be triggered, in order.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct NewEvents {
    /// 1 to 10 events.
    batch: Option<Vec<BatchedEvent>>,
}

/// An event of a batch.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct BatchedEvent {
    /// Its channel.
    channel: String,
    /// Its name: 1 to 200 bytes.
    name: String,
    /// Its data: a string of at most 10,240 bytes.
    data: String,
    /// The connection that is not to receive it.
    socket_id: Option<String>,
    /// Attributes to be answered with: `user_count`, `subscription_count`, separated by commas.
    info: Option<String>,
}

impl BatchedEvent {
    fn checked(self) -> Result<Event, PusherError> {
        let channel = PusherChannel::parse(&self.channel)
            .map_err(|bad| PusherError::new(ErrorCode::BadChannel, bad.to_string()))?;
        Ok(Event {
            name: event_name(&self.name)?,
            data: checked_data(self.data)?,
            channels: vec![channel],
            exclude: self.socket_id.as_deref().map(excluded).transpose()?,
            asked: Asked::parse(self.info.as_deref()),
        })
    }
}

impl NewEvents {
    fn checked(self) -> Result<Vec<Event>, PusherError> {
        let batch = self.batch.ok_or_else(|| PusherError::bad("`batch` is missing"))?;
        if !(1..=MAX_EVENTS).contains(&batch.len()) {
            return Err(PusherError::bad(format!("there are {} events; 1 to {MAX_EVENTS} are allowed", batch.len())));
        }
        let events = batch.into_iter().enumerate();
        events.map(|(at, event)| event.checked().map_err(|refused| refused.within(&format!("event {at}")))).collect()
    }
}

/// What was asked for of the events' channels.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct TriggeredBatch {
    /// One for each event, in order, if the `info` of any asked for something.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<Vec<Attributes>>,
}

pusher_refusals!(BatchRefusals: CALLERS, EVENTS, ANY);

/// Trigger several events
///
/// Up to 10, in order; a batch with an event that is not as it should be is refused whole. Answered as soon as the messages are in a durable queue. Needs
/// the right `publish`.
#[utoipa::path(
    tag = "pusher",
    params(("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110")),
    request_body(content = NewEvents, example = json!({"batch": [
        {"channel": "room", "name": "said", "data": "{\"text\":\"hi\"}"},
        {"channel": "presence-room", "name": "said", "data": "{\"text\":\"ho\"}", "info": "user_count"}
    ]})),
    responses(
        (status = 200, description = "Accepted: they will be delivered and kept.", body = TriggeredBatch, examples(
            ("plain" = (value = json!({}))),
            ("info" = (summary = "With `info`", value = json!({"batch": [{}, {"user_count": 3}]})))
        )),
        BatchRefusals
    ),
    security(("pusherSignature" = []))
)]
#[post("/apps/{app_id}/batch_events")]
pub(crate) async fn trigger_batch(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<TriggeredBatch>, PusherError> {
    let batch = read::<NewEvents>(&signed.body)?.checked()?;
    for event in &batch {
        event.require(&signed.grant)?;
    }
    events::publish(&request, &services, &signed.grant, &batch).await?;
    if !batch.iter().any(|event| event.asked.is_count()) {
        return Ok(Answer::ok(TriggeredBatch::default()));
    }
    let channels: Vec<_> = batch.iter().flat_map(|event| event.channels.clone()).collect();
    let counts = counts(&services, &signed.grant, &channels).await?;
    let told = batch.iter().zip(&channels).zip(counts);
    let told = told.map(|((event, channel), counts)| event.asked.of(channel, counts, &signed.grant));
    Ok(Answer::ok(TriggeredBatch { batch: Some(told.collect()) }))
}
