//! Bodies: JSON of a bounded size, of the right type, and nothing else.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    rt::time::timeout,
};
use fanfare_protocol::ErrorCode;
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::{Extracting, parse};
use crate::problems::ApiError;

/// A body of which nothing comes for this long is given up.
const PAUSE: Duration = Duration::from_secs(10);

/// A type that a request's body may be.
pub(crate) trait Body: DeserializeOwned + 'static {
    /// The most bytes that it may have.
    const MAX_BYTES: usize = 64 * 1024;
    /// Whether no body at all, or `null`, is taken for `{}`.
    const OPTIONAL: bool = false;
}

/// A body that was read as its type.
pub(crate) struct Valid<T>(pub T);

impl<T: Body> FromRequest for Valid<T> {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            if T::OPTIONAL && !has_body(&request) {
                require_json(&request, true)?;
                return Ok(Valid(parse("{}").map_err(ApiError::from)?));
            }
            let text = read(&request, payload, T::MAX_BYTES).await?;
            let text = if T::OPTIONAL && text.trim() == "null" { "{}".to_owned() } else { text };
            Ok(Valid(parse(&text).map_err(ApiError::from)?))
        })
    }
}

/// A JSON body as text of at most `MAX` bytes, for who reads it piece by piece.
pub(crate) struct Text<const MAX: usize>(pub String);

impl<const MAX: usize> FromRequest for Text<MAX> {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Text(read(&request, payload, MAX).await?)) })
    }
}

/// Whether the request says that a body follows.
pub(super) fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING) || declared_bytes(request).is_some_and(|count| count > 0)
}

/// Refuses a body of another type; without a type only where there may be no body.
pub(super) fn require_json(request: &HttpRequest, may_be_absent: bool) -> Result<(), ApiError> {
    let headers = request.headers();
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the body is compressed; send it as it is"));
    }
    match headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default()) {
        None if may_be_absent => Ok(()),
        Some(kind) if is_json(kind) => Ok(()),
        _ => Err(ApiError::plain(ErrorCode::UnsupportedMediaType)),
    }
}

fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence && parts.all(|parameter| !parameter.to_ascii_lowercase().starts_with("charset=") || is_utf8(parameter))
}

fn is_utf8(charset: &str) -> bool {
    let name = charset["charset=".len()..].trim_matches('"');
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}

fn declared_bytes(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(request: &HttpRequest, payload: Payload, most: usize) -> Result<String, ApiError> {
    require_json(request, false)?;
    let body = collect(request, payload, most).await?;
    String::from_utf8(body).map_err(|_| ApiError::new(ErrorCode::Malformed, "the body is not UTF-8"))
}

/// The bytes of a body, whatever it says to be.
pub(crate) async fn collect(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<Vec<u8>, ApiError> {
    let too_large = || ApiError::new(ErrorCode::BodyTooLarge, format!("the body may have {most} bytes"));
    let declared = declared_bytes(request).unwrap_or(0);
    if declared > most {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(declared);
    while let Some(chunk) = timeout(PAUSE, payload.next()).await.map_err(|_| stalled())? {
        let chunk = chunk.map_err(broken)?;
        if body.len() + chunk.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn stalled() -> ApiError {
    ApiError::new(ErrorCode::RequestTimeout, format!("nothing of the body came for {} s", PAUSE.as_secs()))
}

fn broken(failure: PayloadError) -> ApiError {
    match failure {
        PayloadError::Overflow => ApiError::plain(ErrorCode::BodyTooLarge),
        _ => ApiError::new(ErrorCode::Malformed, "the body ended early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_a_body() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; v=1",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "application/json; charset=latin1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
