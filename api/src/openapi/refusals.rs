//! The refusals of an operation, as its document lists them: by status, each code with an example.

use std::collections::BTreeMap;

use fanfare_protocol::ErrorCode::{self, *};
use serde_json::json;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, example::ExampleBuilder};

use super::text_header;
use crate::problems::PROBLEM_JSON;

/// Of every operation.
pub(crate) const ANY: &[ErrorCode] = &[TlsRequired, RateLimited, Unavailable, Internal];
/// Of operations that need a session.
pub(crate) const SESSION: &[ErrorCode] = &[Unauthorized, SessionExpired];
/// Of changes by session.
pub(crate) const CHANGE: &[ErrorCode] = &[ForeignOrigin, UnsupportedMediaType];
/// Of operations with a body.
pub(crate) const BODY: &[ErrorCode] = &[Malformed, UnsupportedMediaType, BodyTooLarge, RequestTimeout, InvalidBody];
/// Of operations that need an API key or a client token.
pub(crate) const DATA: &[ErrorCode] = &[Unauthorized, BadKey, BadToken, Revoked, TokenExpired, AppDisabled, Forbidden];

/// Makes a type that lists an operation's refusals, for its `responses(…)`.
macro_rules! refusals {
    ($name:ident: $($codes:expr),+ $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::openapi::refusals::responses(&[$($codes),+])
            }
        }
    };
}

pub(crate) use refusals;

/// The responses of these codes, one for each status.
pub(crate) fn responses(groups: &[&[ErrorCode]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in groups.iter().copied().flatten() {
        let same_status = by_status.entry(code.row().status).or_default();
        if !same_status.contains(code) {
            same_status.push(*code);
        }
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), RefOr::T(response(status, &codes)))).collect()
}

fn response(status: u16, codes: &[ErrorCode]) -> Response {
    let listed: Vec<_> = codes.iter().map(|code| format!("`{}`: {}.", code.name(), code.row().title)).collect();
    let examples = codes.iter().map(|code| {
        (code.name().to_owned(), ExampleBuilder::new().summary(code.row().title).value(Some(example(*code))).build())
    });
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let answer = ResponseBuilder::new().description(listed.join(" ")).content(PROBLEM_JSON, content);
    match status {
        401 => answer.header("WWW-Authenticate", text_header("How to authenticate.")),
        429 | 503 => answer.header("Retry-After", text_header("When to try again, in seconds.")),
        _ => answer,
    }
    .build()
}

fn example(code: ErrorCode) -> serde_json::Value {
    let row = code.row();
    let mut problem = json!({
        "type": format!("/errors#{}", row.name),
        "title": row.title,
        "status": row.status,
        "code": row.name,
        "detail": row.title,
        "remedy": row.remedy,
        "request_id": "req_8Ahq2SEx0ZkT5LrmV7cD",
    });
    if code == InvalidBody {
        problem["errors"] = json!([{"pointer": "/name", "detail": "is missing"}]);
    }
    problem
}
