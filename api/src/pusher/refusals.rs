//! Refusals as Pusher's libraries read them: an explanation in JSON, and a status that they know.

use std::{collections::BTreeMap, fmt};

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header},
};
use fanfare_domain::{Refusal, StoreError};
use fanfare_protocol::{ErrorCode, names::BadName};
use serde::Serialize;
use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, example::ExampleBuilder},
};

use crate::{limits::whole_seconds, openapi::text_header, problems::ApiError};

/// Of every operation: who calls is not known, or may not.
pub(super) const CALLERS: &[ErrorCode] = &[ErrorCode::BadKey, ErrorCode::AppDisabled, ErrorCode::Forbidden];
/// Of operations that publish.
pub(super) const EVENTS: &[ErrorCode] = &[
    ErrorCode::Malformed,
    ErrorCode::InvalidBody,
    ErrorCode::BadChannel,
    ErrorCode::MessageTooLarge,
    ErrorCode::BodyTooLarge,
    ErrorCode::RequestTimeout,
    ErrorCode::BacklogFull,
    ErrorCode::Unconfirmed,
];

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PusherProblem {
    /// What happened, in a sentence.
    error: String,
    /// The stable code, as on the page of errors.
    code: &'static str,
    /// The HTTP status.
    status: u16,
}

/// A refusal on its way to a server library.
#[derive(Debug)]
pub(crate) struct PusherError {
    refusal: Refusal,
    allow: Option<String>,
}

impl PusherError {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Refusal::new(code, detail).into()
    }

    /// Something of the request is wrong: 400.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidBody, detail)
    }

    /// Says which part of the request is meant.
    pub fn within(mut self, part: &str) -> Self {
        self.refusal.message = format!("{part}: {}", self.refusal.message);
        self
    }
}

impl From<Refusal> for PusherError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, allow: None }
    }
}

impl From<ApiError> for PusherError {
    fn from(error: ApiError) -> Self {
        Self { refusal: error.refusal, allow: error.allow }
    }
}

impl From<StoreError> for PusherError {
    fn from(failure: StoreError) -> Self {
        Refusal::from(failure).into()
    }
}

impl From<BadName> for PusherError {
    fn from(bad: BadName) -> Self {
        Self::new(ErrorCode::BadChannel, bad.to_string())
    }
}

/// The statuses that Pusher's libraries know: whatever is wrong with a request is 400, but for data that is too large.
fn status(code: ErrorCode) -> u16 {
    match code.row().status {
        _ if code == ErrorCode::PlanLimit => 403,
        409 | 415 | 422 => 400,
        known => known,
    }
}

impl fmt::Display for PusherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl ResponseError for PusherError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(status(self.refusal.code)).expect("the table holds HTTP statuses")
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut answer = HttpResponseBuilder::new(status);
        if status == StatusCode::UNAUTHORIZED {
            answer.insert_header((header::WWW_AUTHENTICATE, r#"Pusher realm="fanfare""#));
        }
        if matches!(status.as_u16(), 429 | 503) {
            let seconds = self.refusal.retry_after.map_or(1, whole_seconds).max(1);
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(allow) = &self.allow {
            answer.insert_header((header::ALLOW, allow.as_str()));
        }
        let code = self.refusal.code.name();
        answer.json(PusherProblem { error: self.refusal.message.clone(), code, status: status.as_u16() })
    }
}

/// Makes a type that lists an operation's refusals, for its `responses(…)`.
macro_rules! pusher_refusals {
    ($name:ident: $($codes:expr),+ $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::pusher::refusals::responses(&[$($codes),+])
            }
        }
    };
}

pub(super) use pusher_refusals;

/// The responses of these codes, one for each status.
pub(super) fn responses(groups: &[&[ErrorCode]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in groups.iter().copied().flatten() {
        let same_status = by_status.entry(status(*code)).or_default();
        if !same_status.contains(code) {
            same_status.push(*code);
        }
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), RefOr::T(response(status, &codes)))).collect()
}

fn response(status: u16, codes: &[ErrorCode]) -> Response {
    let listed: Vec<_> = codes.iter().map(|code| format!("`{}`: {}.", code.name(), code.row().title)).collect();
    let examples = codes.iter().map(|code| {
        let problem = json!({"error": code.row().title, "code": code.name(), "status": status});
        (code.name().to_owned(), ExampleBuilder::new().summary(code.row().title).value(Some(problem)).build())
    });
    let schema = Ref::from_schema_name("PusherProblem");
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    let answer = ResponseBuilder::new().description(listed.join(" ")).content("application/json", content);
    match status {
        401 => answer.header("WWW-Authenticate", text_header("That the request must be signed.")),
        429 | 503 => answer.header("Retry-After", text_header("When to try again, in seconds.")),
        _ => answer,
    }
    .build()
}
