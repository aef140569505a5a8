//! Problems: how a refusal looks over HTTP (RFC 9457).

use std::fmt;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header},
};
use fanfare_domain::{Refusal, StoreError};
use fanfare_protocol::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::whole_seconds;

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where the code is explained, on this server.
    #[serde(rename = "type")]
    #[schema(example = "/errors#not_found")]
    pub kind: String,
    /// What the code means, in short.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code; programs read this.
    pub code: &'static str,
    /// What happened this time.
    pub detail: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The id of this request, as in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[FieldProblem]>::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// A JSON pointer (RFC 6901) into the body, or `/` and the name of a query parameter.
    #[schema(example = "/cap/chat:*")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A refusal on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub refusal: Refusal,
    pub fields: Vec<FieldProblem>,
    /// The methods that are allowed, where another was used.
    pub allow: Option<String>,
}

impl ApiError {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Refusal::new(code, detail).into()
    }

    pub fn plain(code: ErrorCode) -> Self {
        Refusal::plain(code).into()
    }

    /// One field of the request is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of_field(FieldProblem { pointer: pointer.into(), detail: detail.into() })
    }

    pub fn of_field(field: FieldProblem) -> Self {
        let refusal = Refusal::new(ErrorCode::InvalidBody, field.to_string());
        Self { fields: vec![field], ..refusal.into() }
    }

    /// The whole answer, with the request's id where it is known.
    pub fn answer(&self, request_id: Option<&str>) -> HttpResponse {
        let row = self.refusal.code.row();
        let mut answer = HttpResponseBuilder::new(self.status_code());
        answer.content_type(PROBLEM_JSON);
        if let Some(challenge) = challenge(self.refusal.code) {
            answer.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        if let Some(seconds) = self.retry_after_s() {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(allow) = &self.allow {
            answer.insert_header((header::ALLOW, allow.as_str()));
        }
        let problem = Problem {
            kind: format!("/errors#{}", row.name),
            title: row.title,
            status: row.status,
            code: row.name,
            detail: self.refusal.message.clone(),
            remedy: row.remedy,
            request_id: request_id.map(str::to_owned),
            errors: self.fields.clone(),
        };
        answer.body(serde_json::to_string(&problem).expect("a problem is made of strings and numbers"))
    }

    /// Whole seconds, at least one, wherever waiting helps.
    fn retry_after_s(&self) -> Option<u64> {
        let waits = matches!(self.refusal.code.row().status, 429 | 503) || self.refusal.retry_after.is_some();
        waits.then(|| self.refusal.retry_after.map_or(1, whole_seconds).max(1))
    }
}

/// What an answer 401 asks for (RFC 9110, 11.6.1). Only where an API key was tried does it name Basic, on which browsers ask for a password.
fn challenge(code: ErrorCode) -> Option<&'static str> {
    if code.row().status != 401 {
        return None;
    }
    Some(match code {
        ErrorCode::BadKey => r#"Bearer realm="fanfare", Basic realm="fanfare", charset="UTF-8""#,
        ErrorCode::BadToken | ErrorCode::TokenExpired | ErrorCode::SessionExpired => {
            r#"Bearer realm="fanfare", error="invalid_token""#
        }
        _ => r#"Bearer realm="fanfare""#,
    })
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.detail),
            pointer => write!(f, "{pointer}: {}", self.detail),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.refusal.code.row().status).expect("the table holds HTTP statuses")
    }

    fn error_response(&self) -> HttpResponse {
        self.answer(None)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let field = refusal
            .pointer
            .map(|pointer| FieldProblem { pointer: pointer.to_owned(), detail: refusal.message.clone() });
        Self { refusal, fields: field.into_iter().collect(), allow: None }
    }
}

impl From<StoreError> for ApiError {
    fn from(failure: StoreError) -> Self {
        Refusal::from(failure).into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::to_bytes;
    use serde_json::json;

    use super::*;

    async fn body(error: &ApiError) -> serde_json::Value {
        serde_json::from_slice(&to_bytes(error.answer(Some("req_1")).into_body()).await.unwrap()).unwrap()
    }

    fn header(error: &ApiError, name: header::HeaderName) -> Option<String> {
        error.answer(None).headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[actix_web::test]
    async fn a_problem_has_the_fields_of_the_contract() {
        let error = ApiError::field("/cap/a*b", "is not a pattern");
        assert_eq!(header(&error, header::CONTENT_TYPE).as_deref(), Some(PROBLEM_JSON));
        assert_eq!(
            body(&error).await,
            json!({
                "type": "/errors#invalid_body",
                "title": "A field of the request is wrong",
                "status": 422,
                "code": "invalid_body",
                "detail": "/cap/a*b: is not a pattern",
                "remedy": "Mend the fields listed in `errors`, or named in the message.",
                "request_id": "req_1",
                "errors": [{"pointer": "/cap/a*b", "detail": "is not a pattern"}],
            })
        );
        assert_eq!(body(&ApiError::plain(ErrorCode::NotFound)).await.get("errors"), None);
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let limited = |wait| ApiError::from(Refusal::plain(ErrorCode::RateLimited).retry_after(wait));
        assert_eq!(header(&limited(Duration::from_micros(3)), header::RETRY_AFTER).as_deref(), Some("1"));
        assert_eq!(header(&limited(Duration::from_millis(1_200)), header::RETRY_AFTER).as_deref(), Some("2"));
        assert_eq!(header(&ApiError::plain(ErrorCode::BacklogFull), header::RETRY_AFTER).as_deref(), Some("1"));
        assert_eq!(header(&ApiError::plain(ErrorCode::NotFound), header::RETRY_AFTER), None);
    }

    #[test]
    fn every_401_says_how_to_authenticate() {
        for code in ErrorCode::ALL {
            let error = ApiError::plain(*code);
            assert_eq!(header(&error, header::WWW_AUTHENTICATE).is_some(), code.row().status == 401, "{}", code.name());
        }
    }
}
