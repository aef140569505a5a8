//! Publishing many messages with one request; each has its own result.

use actix_web::{
    HttpRequest, post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    ids::ConnectionId,
    plans::{BATCH_BYTES, BATCH_ITEMS},
    publishing::{NewPublish, Receipt},
};
use fanfare_protocol::{
    ChannelName, ClientName, ErrorCode, EventName,
    requests::{Ack, Headers},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{Caller, Query, Text, Then, Unreadable, parse},
    messages::{Published, ack, offer},
    openapi::refusals::{ANY, BODY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(publish_batch);
}

/// Messages to be published; the items stay text here, so that a bad one does not spoil the others.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBatch<'a> {
    /// 1 to 1,000 messages, in order.
    #[serde(borrow)]
    #[schema(value_type = Vec<BatchItem>)]
    messages: Vec<&'a RawValue>,
}

/// A message of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchItem {
    /// The channel.
    channel: String,
    /// Any JSON value; subscribers get it as it was sent.
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
    /// Makes retries safe: the same key gives the first answer again for 24 h. 1 to 200 bytes.
    idempotency_key: Option<String>,
}

impl BatchItem {
    fn read(raw: &RawValue) -> Result<NewPublish, Refusal> {
        let item: BatchItem = parse(raw.get()).map_err(|problem| match problem {
            Unreadable::Malformed(detail) => Refusal::new(ErrorCode::InvalidBody, detail),
            Unreadable::Field(field) => Refusal::new(ErrorCode::InvalidBody, field.to_string()),
        })?;
        let channel =
            ChannelName::parse(&item.channel).map_err(|bad| Refusal::new(ErrorCode::BadChannel, bad.to_string()))?;
        let BatchItem { data, name, headers, client, ephemeral, exclude, idempotency_key, .. } = item;
        Ok(NewPublish {
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
        })
    }
}

/// What became of each message, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResults {
    /// One result a message.
    results: Vec<BatchResult>,
}

/// What became of one message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchResult {
    /// It was taken.
    Taken(Published),
    /// It was refused.
    Refused {
        /// Why.
        error: ItemError,
    },
}

/// Why a message was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemError {
    /// The stable code.
    code: &'static str,
    /// What happened.
    detail: String,
    /// What to do about it.
    remedy: &'static str,
}

impl BatchResult {
    fn new(result: Result<Receipt, Refusal>, ack: Ack) -> Self {
        match result {
            Ok(receipt) => Self::Taken(Published::new(receipt, ack)),
            Err(Refusal { code, message, .. }) => {
                Self::Refused { error: ItemError { code: code.name(), detail: message, remedy: code.row().remedy } }
            }
        }
    }
}

/// Reads the envelope; the items stay text, since they need not be read where the app's rate is used up.
fn open(text: &str) -> Result<Vec<&RawValue>, ApiError> {
    let batch: NewBatch<'_> = parse(text)?;
    match batch.messages.len() {
        0 => Err(ApiError::field("/messages", "is empty")),
        count if count > BATCH_ITEMS => Err(ApiError::new(
            ErrorCode::BodyTooLarge,
            format!("there are {count} messages; {BATCH_ITEMS} are allowed"),
        )),
        _ => Ok(batch.messages),
    }
}

/// Reads each item for itself.
fn read(items: Vec<&RawValue>) -> Vec<Result<NewPublish, Refusal>> {
    items.into_iter().map(BatchItem::read).collect()
}

refusals!(BatchRefusals: DATA, BODY, ANY);

/// Publish many messages
///
/// Up to 1,000 messages and 2 MiB. Each has its own result, in order: a message that is refused does not hold up the others. Messages of one channel keep
/// their order. Idempotency keys stand in the messages.
#[utoipa::path(
    tag = "messages",
    params(("ack" = Option<String>, Query, description = "What the answer waits for: `accepted` (where it is absent) or `persisted`.")),
    request_body(content = NewBatch<'_>, example = json!({"messages": [
        {"channel": "chat:1", "name": "said", "data": {"text": "hi"}},
        {"channel": "not a channel", "data": 1}
    ]})),
    responses(
        (status = 200, description = "One result a message.", body = BatchResults, example = json!({"results": [
            {"message": "msg_01k2v3"},
            {"error": {"code": "bad_channel", "detail": "channel has a character at byte 3 that is not allowed", "remedy": "Use 1 to 200 bytes of A–Z a–z 0–9 _ - = @ , . ; :"}}
        ]})),
        BatchRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []), ("clientToken" = []))
)]
#[post("/v1/messages")]
pub(crate) async fn publish_batch(
    request: HttpRequest,
    input: Then<Caller, Then<Query, Text<BATCH_BYTES>>>,
    services: Data<Services>,
) -> Result<Answer<BatchResults>, ApiError> {
    let Then(caller, Then(query, Text(text))) = input;
    let ack = ack(&query)?;
    if request.headers().contains_key("idempotency-key") {
        return Err(ApiError::field(
            "/messages",
            "of a batch each carry their own `idempotency_key`; the header serves a single message",
        ));
    }
    let items = open(&text)?;
    let results = offer(&request, &services, &caller.grant, items.len(), || read(items), ack).await?;
    Ok(Answer::ok(BatchResults { results: results.into_iter().map(|result| BatchResult::new(result, ack)).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<Result<String, ErrorCode>> {
        read(open(text).unwrap())
            .into_iter()
            .map(|item| item.map(|new| new.data.get().to_owned()).map_err(|refusal| refusal.code))
            .collect()
    }

    #[test]
    fn a_bad_item_is_refused_alone() {
        let text = r#"{"messages":[{"channel":"a","data":1.0},{"channel":"a b","data":1},{"channel":"a"},{"channel":"a","data":1,"x":2},7]}"#;
        let bad = Err(ErrorCode::InvalidBody);
        assert_eq!(codes(text), [Ok("1.0".to_owned()), Err(ErrorCode::BadChannel), bad.clone(), bad.clone(), bad]);
    }

    #[test]
    fn a_bad_envelope_is_refused_whole() {
        let code = |text: &str| open(text).map(|_| ()).unwrap_err().refusal.code;
        assert_eq!(code(r#"{"messages":[{]}"#), ErrorCode::Malformed);
        assert_eq!(code(r#"{"messages":[]}"#), ErrorCode::InvalidBody);
        assert_eq!(code(r#"{"messages":[1],"x":1}"#), ErrorCode::InvalidBody);
        assert_eq!(code(r#"[]"#), ErrorCode::InvalidBody);
        let many = vec!["1"; 1_001].join(",");
        assert_eq!(code(&format!("{{\"messages\":[{many}]}}")), ErrorCode::BodyTooLarge);
    }
}
