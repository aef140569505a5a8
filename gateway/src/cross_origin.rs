//! Web pages of other origins (CORS): preflights are answered for any, without credentials; an answer is theirs to read only if the
//! app allows their origin.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};
use fanfare_domain::origins::{self, ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS};

use crate::{hub::Hub, streams::Asked};

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_S: u32 = 7_200;

/// Answers a preflight: whoever asks may send the request; whether they may read its answer is the app's to say.
pub(crate) async fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S))
        .insert_header((header::ALLOW, "GET, OPTIONS"))
        .finish()
}

/// Lets the page that asked read the answer; its origin is allowed.
pub(crate) fn share(origin: Option<&str>, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

/// The same for a refusal, whose app is known only as far as the credential names it.
pub(crate) async fn share_refusal(hub: &Hub, by: &Asked, refused: &mut HttpResponse) {
    let mut shared = None;
    if let Some(origin) = by.origin.as_deref() {
        let directory = &hub.gateway().ports().directory;
        let profile = origins::app_of(directory.as_ref(), by.credential(), by.app.as_deref()).await;
        shared = profile.filter(|profile| profile.app.origins.allow(origin)).map(|_| origin);
    }
    share(shared, refused.headers_mut());
}
