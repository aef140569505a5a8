//! Reading a channel's past.

use actix_web::{
    HttpRequest, get,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    capabilities::Right,
    history::{PAGE_ITEMS, Visible},
    ids::MessageId,
    messages::Message,
    metrics::Metric,
};
use fanfare_protocol::{
    ClientName, Epoch, ErrorCode, EventName, Serial,
    requests::{Headers, Range},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{OnChannel, Query, Then},
    limits::take_read,
    openapi::refusals::{ANY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

/// How many items a page has where nothing else is asked for.
const USUAL_ITEMS: u32 = 100;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(read_history);
}

/// A page of a channel's past.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// The channel's epoch; serials of another one mean nothing here.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// The messages, in the order asked for.
    items: Vec<HistoryItem>,
    /// Whether there is more in that direction.
    more: bool,
}

/// A message as history lists it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryItem {
    /// Its place in the channel.
    #[schema(value_type = u64)]
    serial: Serial,
    /// Its id.
    #[schema(value_type = String)]
    id: MessageId,
    /// When it was accepted.
    time: u64,
    /// The event's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    name: Option<EventName>,
    /// Who published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    client: Option<ClientName>,
    /// Short strings that travel with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    headers: Option<Headers>,
    /// The publisher's JSON.
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
}

impl From<(Serial, Message)> for HistoryItem {
    fn from((serial, message): (Serial, Message)) -> Self {
        let Message { id, time, name, client, headers, data } = message;
        Self { serial, id, time: time.0, name, client, headers, data }
    }
}

fn range(query: &Query) -> Result<Range, ApiError> {
    match (query.number("after")?, query.number("before")?) {
        (Some(_), Some(_)) => Err(ApiError::field("/before", "and `after` exclude each other")),
        (Some(serial), None) => Ok(Range::After(serial_of("/after", serial)?)),
        (None, Some(serial)) => Ok(Range::Before(serial_of("/before", serial)?)),
        (None, None) => Ok(Range::Newest),
    }
}

fn serial_of(pointer: &str, number: u64) -> Result<Serial, ApiError> {
    let serial = Serial(number);
    if serial <= Serial::MAX { Ok(serial) } else { Err(ApiError::field(pointer, "is larger than any serial")) }
}

refusals!(HistoryRefusals: DATA, &[ErrorCode::NotFound, ErrorCode::HistoryOff, ErrorCode::BadChannel, ErrorCode::InvalidBody], ANY);

/// Read a channel's history
///
/// `after` reads ascending from there, `before` descending; without either, the newest messages come first. A page ends at `limit` messages or 1 MiB;
/// `more` says whether there is another. Needs the right `history`.
#[utoipa::path(
    tag = "history",
    params(
        ("channel" = String, Path, description = "The channel, percent-encoded.", example = "chat:1"),
        ("after" = Option<u64>, Query, description = "A serial: only what comes after it, ascending."),
        ("before" = Option<u64>, Query, description = "A serial: only what came before it, descending."),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 1,000, 100 where it is absent.")
    ),
    responses(
        (status = 200, description = "A page of messages.", body = HistoryPage, example = json!({
            "epoch": "x7Gq0bTz1A",
            "items": [{"serial": 1, "id": "msg_01k2v3", "time": 1_764_000_000_000u64, "name": "said", "data": {"text": "hi"}}],
            "more": false
        })),
        HistoryRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []), ("clientToken" = []))
)]
#[get("/v1/channels/{channel}/messages")]
pub(crate) async fn read_history(
    request: HttpRequest,
    input: Then<OnChannel, Query>,
    services: Data<Services>,
) -> Result<Answer<HistoryPage>, ApiError> {
    let Then(OnChannel { caller, channel }, query) = input;
    let (range, limit) = (range(&query)?, query.limit(USUAL_ITEMS, PAGE_ITEMS)?);
    caller.grant.require(Right::History, &channel)?;
    let profile = &caller.grant.profile;
    let kept = profile.rule(&channel).history;
    let retention = kept.ok_or_else(|| Refusal::new(ErrorCode::HistoryOff, format!("`{channel}` keeps no history")))?;
    take_read(&request, &services, profile, "pages of history")?;

    let visible = Visible { retention, now: services.now() };
    let page = services.ports.log.read(&profile.app.id, &channel, range, limit, visible).await?;
    Metric::HistoryReads.add_labelled("history", 1);
    let page = page.ok_or_else(|| ApiError::plain(ErrorCode::NotFound))?;
    // Reading may have taken its time.
    services.ports.enforcement.require_good(&caller.grant).await?;
    let items = page.items.into_iter().map(HistoryItem::from).collect();
    Ok(Answer::ok(HistoryPage { epoch: page.head.epoch, items, more: page.more }))
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest, test::TestRequest};

    use super::*;

    async fn of(text: &str) -> Result<Range, String> {
        let query = Query::extract(&TestRequest::with_uri(&format!("/?{text}")).to_http_request()).await.unwrap();
        range(&query).map_err(|refused| refused.fields[0].pointer.clone())
    }

    #[actix_web::test]
    async fn a_range_goes_one_way() {
        assert_eq!(of("").await, Ok(Range::Newest));
        assert_eq!(of("after=0").await, Ok(Range::After(Serial(0))));
        assert_eq!(of("before=7").await, Ok(Range::Before(Serial(7))));
        assert_eq!(of("after=1&before=7").await, Err("/before".to_owned()));
        assert_eq!(of("after=9007199254740992").await, Err("/after".to_owned()));
    }
}
