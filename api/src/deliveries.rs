//! Explaining what became of a message for a client.

use actix_web::{
    FromRequest, HttpRequest, get,
    web::{Data, Path, ServiceConfig},
};
use fanfare_domain::{
    Refusal, Timestamp,
    capabilities::Right,
    deliveries::{Asked, Judged, Kept, Place, Verdict, judge},
    history::{Found, Visible},
    ids::MessageId,
    rules::Retention,
};
use fanfare_protocol::{ChannelName, ClientName, Epoch, ErrorCode, Serial};
use serde::Serialize;
use utoipa::ToSchema;

mod words;

use crate::{
    answers::Answer,
    extract::{Caller, Query, Then},
    limits::take_read,
    openapi::refusals::{ANY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(explain_delivery);
}

/// What became of a message for a client.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// The channel.
    #[schema(value_type = String)]
    channel: ChannelName,
    /// The message.
    #[schema(value_type = String)]
    message: MessageId,
    /// The client.
    #[schema(value_type = String)]
    client: ClientName,
    /// Whether the message was accepted; always `true`, since of one that was not there is nothing to tell.
    accepted: bool,
    /// Whether it is in history.
    persisted: bool,
    /// Whether the client got it: it left for the network on one of the client's connections. `null` where that is not known, or not yet.
    delivered: Option<bool>,
    /// What became of it: `delivered`, `waiting`, `filtered`, `past_retention`, `slow`, `no_right`, `disconnected`, `not_subscribed`, `not_persisted`,
    /// `ephemeral` or `unknown`.
    outcome: &'static str,
    /// The same as a sentence.
    detail: String,
    /// Its place in the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    serial: Option<Serial>,
    /// The channel's epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    epoch: Option<Epoch>,
    /// When it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    time: Option<Timestamp>,
    /// The client's subscriptions of the channel that the trace keeps, oldest first, and what each means for the message.
    subscriptions: Vec<Subscription>,
    /// Back to when the trace is whole: of what is older, `not_subscribed` and its like cannot be told from `unknown`.
    #[schema(value_type = u64)]
    traced_since: Timestamp,
}

/// A subscription of the client, or the refusal of one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Subscription {
    /// The connection.
    connection: String,
    /// What carries it: `websocket`, `sse` or `poll`.
    transport: String,
    /// What it means for the message.
    outcome: &'static str,
    /// When it began, or was refused.
    #[schema(value_type = u64)]
    began_at: Timestamp,
    /// Everything after this serial was to be delivered; absent where it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    after: Option<Serial>,
    /// Everything up to this serial has left for the network, except what was passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    written: Option<Serial>,
    /// Where it delivered the message: by when at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    written_by: Option<Timestamp>,
    /// When it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    ended_at: Option<Timestamp>,
    /// Why it ended or was refused: an error code; or `unsubscribed`, `client` (closed or lost), `answered` (a poll), `node_lost` (what it did last is not
    /// known).
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
}

impl From<Judged> for Subscription {
    fn from(Judged { course, outcome, written_by, is_lost }: Judged) -> Self {
        let (ended_at, ended_by) = course.end.map(|end| (end.at, end.reason)).unzip();
        let is_begun = course.epoch.is_some();
        Self {
            connection: course.connection.as_str().to_owned(),
            transport: course.transport,
            outcome: outcome.name(),
            began_at: course.began_at,
            after: is_begun.then_some(course.from),
            written: is_begun.then_some(course.written),
            written_by,
            ended_at,
            ended_by: ended_by.or_else(|| is_lost.then(|| "node_lost".to_owned())),
        }
    }
}

impl Delivery {
    fn judged(place: Place, message: MessageId, found: Found, verdict: Verdict) -> Self {
        let detail = words::of(&verdict);
        Self {
            channel: place.channel,
            message,
            client: place.client,
            accepted: true,
            persisted: true,
            delivered: verdict.outcome.is_delivered(),
            outcome: verdict.outcome.name(),
            detail,
            serial: Some(found.serial),
            epoch: Some(found.epoch),
            time: Some(found.time),
            subscriptions: verdict.courses.into_iter().map(Subscription::from).collect(),
            traced_since: verdict.reaches_back_to,
        }
    }

    /// A message that is not in the log, and that the trace remembers as accepted.
    fn not_stored(place: Place, message: MessageId, is_ephemeral: bool, traced_since: Timestamp) -> Self {
        let (outcome, delivered, detail) = match is_ephemeral {
            true => ("ephemeral", None, words::EPHEMERAL),
            false => ("not_persisted", Some(false), words::NOT_PERSISTED),
        };
        Self {
            channel: place.channel,
            message,
            client: place.client,
            accepted: true,
            persisted: false,
            delivered,
            outcome,
            detail: detail.to_owned(),
            serial: None,
            epoch: None,
            time: None,
            subscriptions: Vec::new(),
            traced_since,
        }
    }
}

/// The channel and the message of the path.
async fn subject(request: &HttpRequest) -> Result<(ChannelName, Result<MessageId, ApiError>), ApiError> {
    let path = Path::<(String, String)>::extract(request).await;
    let (channel, message) = path.map_err(|_| ApiError::plain(ErrorCode::BadChannel))?.into_inner();
    let channel = ChannelName::parse(&channel).map_err(|bad| ApiError::new(ErrorCode::BadChannel, bad.to_string()))?;
    Ok((channel, MessageId::parse(&message).map_err(|_| nothing_kept())))
}

fn client(query: &Query) -> Result<ClientName, ApiError> {
    let name =
        query.text("client")?.ok_or_else(|| ApiError::field("/client", "is needed: whose delivery is asked about"))?;
    ClientName::parse(name).map_err(|bad| ApiError::field("/client", bad.to_string()))
}

fn nothing_kept() -> ApiError {
    let why = "no message of this id is known in this channel: it is past retention, was ephemeral some time ago, or never was";
    ApiError::new(ErrorCode::NotFound, why)
}

fn past_retention() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the message is past retention, and nothing is told of it any more")
}

refusals!(ExplainRefusals: DATA, &[ErrorCode::NotFound, ErrorCode::TraceOff, ErrorCode::BadChannel, ErrorCode::InvalidBody], ANY);

/// Explain a delivery
///
/// Whether a message was accepted, is persisted, and was delivered to a client; and if not, why. Answered from a bounded trace that an app keeps while its
/// `delivery_trace` is on, of what was published since; the trace is at most some seconds behind. `delivered` means that the message left the server for one of the
/// client's connections; that the device has it, only the app itself can tell. What is neither known to be delivered nor known not to be is
/// `unknown`, never guessed. Clients without a name, and what each got of an ephemeral message, are not traced. Takes from the same rate as
/// reads of history. Needs an API key with the right `admin` on the channel.
#[utoipa::path(
    tag = "channels",
    params(
        ("channel" = String, Path, description = "The channel, percent-encoded.", example = "chat:1"),
        ("message" = String, Path, description = "The message's id.", example = "msg_01k2v3"),
        ("client" = String, Query, description = "The client.", example = "ann")
    ),
    responses(
        (status = 200, description = "What became of it.", body = Delivery, examples(
            ("delivered" = (value = json!({
                "channel": "chat:1", "message": "msg_01k2v3", "client": "ann", "accepted": true, "persisted": true, "delivered": true,
                "outcome": "delivered", "detail": "It left for the client on the connection con_01k2v3 (websocket).",
                "serial": 17, "epoch": "x7Gq0bTz1A", "time": 1_764_000_000_000u64,
                "subscriptions": [{
                    "connection": "con_01k2v3", "transport": "websocket", "outcome": "delivered", "began_at": 1_763_999_000_000u64,
                    "after": 3, "written": 20, "written_by": 1_764_000_001_000u64
                }],
                "traced_since": 1_763_990_000_000u64
            }))),
            ("slow" = (value = json!({
                "channel": "chat:1", "message": "msg_01k2v3", "client": "ann", "accepted": true, "persisted": true, "delivered": false,
                "outcome": "slow",
                "detail": "The connection con_01k2v3 (websocket) read too slowly and was closed before it was written; it did not resume since.",
                "serial": 17, "epoch": "x7Gq0bTz1A", "time": 1_764_000_000_000u64,
                "subscriptions": [{
                    "connection": "con_01k2v3", "transport": "websocket", "outcome": "slow", "began_at": 1_763_999_000_000u64,
                    "after": 3, "written": 11, "ended_at": 1_764_000_001_000u64, "ended_by": "slow_consumer"
                }],
                "traced_since": 1_763_990_000_000u64
            })))
        )),
        ExplainRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[get("/v1/channels/{channel}/messages/{message}/delivery")]
pub(crate) async fn explain_delivery(
    request: HttpRequest,
    input: Then<Caller, Query>,
    services: Data<Services>,
) -> Result<Answer<Delivery>, ApiError> {
    let Then(caller, query) = input;
    caller.require_key()?;
    let (channel, message) = subject(&request).await?;
    caller.grant.require(Right::Admin, &channel)?;
    let client = client(&query)?;
    let profile = &caller.grant.profile;
    let traced_since = profile.app.traced_since.ok_or_else(|| ApiError::plain(ErrorCode::TraceOff))?;
    take_read(&request, &services, profile, "reads of history and explanations")?;

    let (message, now) = (message?, services.now());
    // Without history nothing is stored, and nothing visible.
    let retention = profile.rule(&channel).history.unwrap_or(Retention { retention_s: 0, max_messages: None });
    let place = Place { app: profile.app.id.clone(), channel, client };
    let found = services.ports.log.find(&place.app, &place.channel, &message, Visible { retention, now }).await?;
    let kept = services.ports.trace.read(&place, &message, now).await.map_err(Refusal::from)?;
    Ok(Answer::ok(match (found, &kept) {
        (Some(found), _) if found.serial <= found.floor => return Err(past_retention()),
        (Some(found), kept) => {
            let Found { epoch, serial, time, .. } = found.clone();
            let verdict = judge(&Asked { epoch, serial, time, traced_since, now }, kept);
            Delivery::judged(place, message, found, verdict)
        }
        (None, Kept { publish: Some(is_ephemeral), .. }) => {
            Delivery::not_stored(place, message, *is_ephemeral, kept.reaches_back_to.max(traced_since))
        }
        (None, Kept { publish: None, .. }) => return Err(nothing_kept()),
    }))
}
