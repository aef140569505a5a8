//! Publishing one message.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    grants::Grant,
    ids::{ConnectionId, MessageId},
    plans,
    publishing::{NewPublish, Receipt},
};
use fanfare_protocol::{
    ChannelName, ClientName, Epoch, ErrorCode, EventName, Serial,
    requests::{Ack, Headers},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{Body, OnChannel, Query, Then, Valid},
    limits::Standing,
    observe,
    openapi::refusals::{ANY, BODY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(publish);
}

/// A message to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage {
    /// Any JSON value; subscribers get it as it was sent, numbers and all.
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
    /// The event's name: 0 to 200 bytes.
    #[schema(value_type = Option<String>)]
    name: Option<EventName>,
    /// Short strings that travel with the message: at most 16, names of 64 bytes, values of 256.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    headers: Option<Headers>,
    /// On whose behalf a backend publishes. A client may only name itself.
    #[schema(value_type = Option<String>)]
    client: Option<ClientName>,
    /// Lowest latency, but no serial and no history.
    #[serde(default)]
    ephemeral: bool,
    /// A connection that is not to receive the message.
    #[schema(value_type = Option<String>)]
    exclude: Option<ConnectionId>,
    /// Makes retries safe: the same key gives the first answer again for 24 h. 1 to 200 bytes; the header `Idempotency-Key` serves as well.
    idempotency_key: Option<String>,
}

impl Body for NewMessage {
    const MAX_BYTES: usize = plans::BATCH_BYTES;
}

impl NewMessage {
    fn on(self, channel: ChannelName, idempotency_key: Option<String>) -> NewPublish {
        let Self { data, name, headers, client, ephemeral, exclude, .. } = self;
        NewPublish {
            channel,
            data,
            name,
            headers,
            client,
            ephemeral,
            exclude,
            idempotency_key,
            trace: None,
            keep_spaces: false,
        }
    }
}

/// A message that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// Its id.
    #[schema(value_type = String)]
    message: MessageId,
    /// With `?ack=persisted`: the channel's epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    epoch: Option<Epoch>,
    /// With `?ack=persisted`: the message's place in the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    serial: Option<Serial>,
}

impl Published {
    /// What the publisher is told: the place only if they asked for it.
    pub fn new(receipt: Receipt, ack: Ack) -> Self {
        let (epoch, serial) = receipt.place.filter(|_| ack == Ack::Persisted).unzip();
        Self { message: receipt.id, epoch, serial }
    }
}

/// `?ack=`: what the answer waits for.
pub(crate) fn ack(query: &Query) -> Result<Ack, ApiError> {
    match query.text("ack")? {
        None | Some("accepted") => Ok(Ack::Accepted),
        Some("persisted") => Ok(Ack::Persisted),
        Some(_) => Err(ApiError::field("/ack", "is `accepted` or `persisted`")),
    }
}

/// The key of the header, where it may stand in quotes, or of the body.
fn idempotency_key(request: &HttpRequest, field: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(field) };
    let header = std::str::from_utf8(value.as_bytes())
        .map_err(|_| ApiError::field("/idempotency_key", "the header is not UTF-8"))?;
    let header = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    match field {
        Some(field) if field != header => {
            Err(ApiError::field("/idempotency_key", "is not the key that the header `Idempotency-Key` gives"))
        }
        _ => Ok(Some(header.to_owned())),
    }
}

/// Offers so many messages to the publisher, read once the app's rate has room for them, and has the answer tell what is left of it.
pub(crate) async fn offer(
    request: &HttpRequest,
    services: &Services,
    grant: &Grant,
    count: usize,
    read: impl FnOnce() -> Vec<Result<NewPublish, Refusal>>,
    ack: Ack,
) -> Result<Vec<Result<Receipt, Refusal>>, ApiError> {
    let (limits, publisher) = (&grant.profile.limits, &services.ports.publisher);
    let admitted = publisher.admit(grant, count).await.inspect_err(|refusal| {
        if refusal.code == ErrorCode::RateLimited {
            Standing::of_publishes(limits, None).note(request);
        }
    })?;
    let mut wanted = read();
    if let Some(trace) = observe::trace(request.headers()) {
        wanted.iter_mut().flatten().for_each(|new| new.trace = Some(trace.clone()));
    }
    let published = publisher.publish_admitted(grant, admitted, wanted, ack).await;
    Standing::of_publishes(limits, Some(published.quota)).note(request);
    Ok(published.results)
}

refusals!(PublishRefusals: DATA, BODY, &[
    ErrorCode::BadChannel, ErrorCode::MessageTooLarge, ErrorCode::HistoryOff, ErrorCode::IdempotencyConflict,
    ErrorCode::BacklogFull, ErrorCode::Unconfirmed,
], ANY);

/// Publish a message
///
/// Answered as soon as the message is in a durable queue; with `?ack=persisted`, as soon as it is in history and has its serial. Needs the right `publish`.
/// A repeated idempotency key gives the first answer again, for 24 h.
#[utoipa::path(
    tag = "messages",
    params(
        ("channel" = String, Path, description = "The channel, percent-encoded.", example = "chat:1"),
        ("ack" = Option<String>, Query, description = "What the answer waits for: `accepted` (where it is absent) or `persisted`."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries safe: 1 to 200 bytes of your choice.")
    ),
    request_body(content = NewMessage, example = json!({"name": "said", "data": {"text": "hi"}})),
    responses(
        (status = 202, description = "Accepted: it will be delivered and kept.", body = Published, example = json!({"message": "msg_01k2v3"})),
        (status = 201, description = "Persisted: it has its place.", body = Published, example = json!({"message": "msg_01k2v3", "epoch": "x7Gq0bTz1A", "serial": 1})),
        PublishRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []), ("clientToken" = []))
)]
#[post("/v1/channels/{channel}/messages")]
pub(crate) async fn publish(
    request: HttpRequest,
    input: Then<OnChannel, Then<Query, Valid<NewMessage>>>,
    services: Data<Services>,
) -> Result<Answer<Published>, ApiError> {
    let Then(OnChannel { caller, channel }, Then(query, Valid(mut new))) = input;
    let ack = ack(&query)?;
    let key = idempotency_key(&request, new.idempotency_key.take())?;
    let read = || vec![Ok(new.on(channel, key))];
    let mut results = offer(&request, &services, &caller.grant, 1, read, ack).await?;
    let receipt = results.pop().unwrap_or_else(|| Err(Refusal::plain(ErrorCode::Internal)))?;
    let published = Published::new(receipt, ack);
    let status = if published.serial.is_some() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok(Answer::with(status, published))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use serde_json::json;

    use super::*;

    fn key(header: Option<&str>, field: Option<&str>) -> Option<Option<String>> {
        let request = header
            .into_iter()
            .fold(TestRequest::default(), |request, key| request.insert_header(("idempotency-key", key)));
        idempotency_key(&request.to_http_request(), field.map(str::to_owned)).ok()
    }

    #[test]
    fn a_key_in_header_and_body_must_be_one() {
        let some = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(key(None, None), Some(None));
        assert_eq!(key(Some("a"), None), some("a"));
        assert_eq!(key(Some("\"a\""), Some("a")), some("a"));
        assert_eq!(key(None, Some("b")), some("b"));
        assert_eq!(key(Some("a"), Some("b")), None);
    }

    #[test]
    fn the_place_is_told_only_to_who_asked_for_it() {
        let receipt = || Receipt { id: MessageId::parse("msg_1").unwrap(), place: Some((Epoch::new("e"), Serial(3))) };
        assert_eq!(json!(Published::new(receipt(), Ack::Accepted)), json!({"message": "msg_1"}));
        assert_eq!(
            json!(Published::new(receipt(), Ack::Persisted)),
            json!({"message": "msg_1", "epoch": "e", "serial": 3})
        );
    }
}
