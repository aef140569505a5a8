//! Dry runs: what a token would be allowed on a channel, decided by the code that decides it for sockets.

use actix_web::{
    post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{Refusal, capabilities::Right, grants::DecidedBy};
use fanfare_protocol::{ChannelName, ErrorCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{Body, Caller, Then, Valid},
    openapi::refusals::{ANY, BODY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(authorize);
}

/// What is asked: may the bearer of this token do this here?
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The client token. It is not kept or logged.
    token: String,
    /// The channel.
    channel: String,
    /// What is to be done with it.
    op: Op,
}

impl Body for Question {}

/// What a client can do with a channel, each by the right of its name.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    /// Follow it live.
    Subscribe,
    /// Publish to it.
    Publish,
    /// Enter it, list and watch who is there.
    Presence,
    /// Read its past.
    History,
}

impl Op {
    fn right(self) -> Right {
        match self {
            Op::Subscribe => Right::Subscribe,
            Op::Publish => Right::Publish,
            Op::Presence => Right::Presence,
            Op::History => Right::History,
        }
    }
}

/// The answer: what the gateway would say now, and what makes it say so.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Verdict {
    /// Whether it would be allowed.
    allowed: bool,
    /// The client that the token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// What decided: `token` (its capability, or that it is not good at all), `signer` (what the key that signed it may do), or `rule` (the channel's).
    decided_by: &'static str,
    /// The pattern of the token's `cap` that gives the right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    /// The rule that the channel follows; absent where the token is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Ruling>,
    /// The refusal that the client would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RefusalView>,
}

/// Which rule a channel follows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ruling {
    /// The namespace that has the rule, perhaps `_default`; `null` for the built-in one.
    namespace: Option<String>,
}

/// A refusal, as sockets carry it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// The stable code.
    code: &'static str,
    /// What would happen.
    message: String,
    /// What to do about it.
    remedy: &'static str,
}

impl From<Refusal> for RefusalView {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code.name(), message: refusal.message, remedy: refusal.code.row().remedy }
    }
}

impl Verdict {
    fn of_bad_token(refusal: Refusal) -> Self {
        let decided_by = DecidedBy::Token.name();
        Self { allowed: false, client: None, decided_by, pattern: None, rule: None, error: Some(refusal.into()) }
    }
}

refusals!(AuthorizeRefusals: DATA, BODY, &[ErrorCode::BadChannel], ANY);

/// Ask what a token allows
///
/// Decided by the code that decides it for sockets and requests, at this moment, without doing it: the token is verified (its signer, its claims, its life, its app), then
/// its capability, what its signer may do, and the channel's rule are looked at. A token of another app is refused. Limits and rates are not looked at. Needs an API key with the right
/// `admin` on the channel.
#[utoipa::path(
    tag = "tokens",
    request_body(content = Question, example = json!({"token": "eyJ…", "channel": "chat:1", "op": "publish"})),
    responses(
        (status = 200, description = "Whether it would be allowed, and why.", body = Verdict, examples(
            ("allowed" = (value = json!({
                "allowed": true, "client": "ann", "decided_by": "token", "pattern": "chat:*", "rule": {"namespace": "chat"}
            }))),
            ("refused by the rule" = (value = json!({
                "allowed": false, "client": "ann", "decided_by": "rule", "rule": {"namespace": "chat"},
                "error": {
                    "code": "forbidden", "message": "the right `publish` on `chat:1` is missing",
                    "remedy": "Ask for a role, key or token that carries the right named in the message."
                }
            }))),
            ("expired" = (value = json!({
                "allowed": false, "decided_by": "token",
                "error": {
                    "code": "token_expired", "message": "The token has expired",
                    "remedy": "Get a fresh token, then connect again or send it with `token`."
                }
            })))
        )),
        AuthorizeRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[post("/v1/authorize")]
pub(crate) async fn authorize(
    input: Then<Caller, Valid<Question>>,
    services: Data<Services>,
) -> Result<Answer<Verdict>, ApiError> {
    let Then(caller, Valid(Question { token, channel, op })) = input;
    caller.require_key()?;
    let channel = ChannelName::parse(&channel).map_err(|bad| ApiError::new(ErrorCode::BadChannel, bad.to_string()))?;
    caller.grant.require(Right::Admin, &channel)?;
    let app = caller.grant.profile.app.id.as_str();
    let grant = match services.ports.authenticator.client(&token, Some(app)).await {
        Ok(grant) => grant,
        // Nothing can be said of the token now.
        Err(refusal) if refusal.code.row().status >= 500 => return Err(refusal.into()),
        Err(refusal) => return Ok(Answer::ok(Verdict::of_bad_token(refusal))),
    };
    let decision = grant.decide(op.right(), &channel);
    Ok(Answer::ok(Verdict {
        allowed: decision.outcome.is_ok(),
        client: grant.client().map(|client| client.as_str().to_owned()),
        decided_by: decision.by.name(),
        pattern: decision.pattern,
        rule: Some(Ruling { namespace: decision.namespace }),
        error: decision.outcome.err().map(RefusalView::from),
    }))
}
