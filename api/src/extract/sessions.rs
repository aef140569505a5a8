//! Sessions: the person who is signed in, by cookie or by bearer, and strangers who are about to.

use std::net::IpAddr;

use actix_web::{
    FromRequest, HttpRequest,
    cookie::{Cookie, SameSite, time},
    dev::Payload,
    http::{Method, header::AUTHORIZATION},
};
use fanfare_domain::{
    accounts::{SESSION_LIFE, Session, User},
    secrets,
};
use fanfare_protocol::ErrorCode;
use secrecy::{ExposeSecret, SecretString};

use super::{
    Extracting,
    bodies::{has_body, require_json},
};
use crate::{
    origins::{self, Own},
    problems::ApiError,
    services::Services,
};

/// The cookie of a session over TLS; browsers take it only with `Secure`, `Path=/` and no domain.
const HOST_COOKIE: &str = "__Host-session";
/// The cookie of a session over plain http on this machine.
const LOOPBACK_COOKIE: &str = "session";
/// Every cookie that may hold a session.
pub(crate) const SESSION_COOKIES: [&str; 2] = [HOST_COOKIE, LOOPBACK_COOKIE];
/// What every session token begins with.
const TOKEN_PREFIX: &str = "ses_";

/// The person who is signed in.
pub(crate) struct SignedIn {
    pub user: User,
    pub session: Session,
}

impl FromRequest for SignedIn {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(sign_in(&request).await?) })
    }
}

/// A caller of the control plane whom nobody knows yet.
pub(crate) struct Stranger {
    pub address: IpAddr,
}

impl FromRequest for Stranger {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Stranger { address: admit(&request)? }) })
    }
}

/// Counts a request to the control plane by its address.
fn admit(request: &HttpRequest) -> Result<IpAddr, ApiError> {
    let services = Services::of(request);
    // Whoever comes here has sent a session or a password, or will.
    origins::require_private(request)?;
    let address = origins::address(request);
    services.gates.control.admit(request, address)?;
    Ok(address)
}

async fn sign_in(request: &HttpRequest) -> Result<SignedIn, ApiError> {
    admit(request)?;
    let services = Services::of(request);
    let token = match bearer(request)? {
        Some(token) => token,
        None => cookie(request)?,
    };
    let found = services.ports.accounts.session(&secrets::fingerprint(&token), services.now()).await?;
    let (session, user) = found.ok_or_else(|| ApiError::plain(ErrorCode::SessionExpired))?;
    Ok(SignedIn { user, session })
}

/// The token of an `Authorization` header. Where there is one, no cookie is looked at.
fn bearer(request: &HttpRequest) -> Result<Option<SecretString>, ApiError> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && token.starts_with(TOKEN_PREFIX) {
        return Ok(Some(SecretString::from(token)));
    }
    Err(ApiError::new(
        ErrorCode::Unauthorized,
        "this needs the token of a session (`Bearer ses_…`); keys and client tokens serve elsewhere",
    ))
}

/// The token of the cookie; a change by cookie must come from our own pages, as JSON.
fn cookie(request: &HttpRequest) -> Result<SecretString, ApiError> {
    let own = Own::of(request);
    let cookie = cookie_name(&own).and_then(|name| request.cookie(name));
    let cookie = cookie.ok_or_else(|| ApiError::new(ErrorCode::Unauthorized, "nobody is signed in"))?;
    if request.method() != Method::GET {
        own.require_same(request.headers())?;
        require_json(request, !has_body(request))?;
    }
    Ok(SecretString::from(cookie.value()))
}

/// Over plain http a session is kept in a cookie only on this machine itself.
fn cookie_name(own: &Own) -> Option<&'static str> {
    match (own.https, own.is_loopback()) {
        (true, _) => Some(HOST_COOKIE),
        (false, true) => Some(LOOPBACK_COOKIE),
        (false, false) => None,
    }
}

/// The cookie that begins a session. Where none would be safe it is one that browsers refuse.
pub(crate) fn set_cookie(request: &HttpRequest, token: &SecretString) -> Cookie<'static> {
    let life = time::Duration::seconds(SESSION_LIFE.as_secs() as i64);
    build_cookie(request, token.expose_secret().to_owned(), life)
}

/// The cookie that ends a session.
pub(crate) fn take_cookie(request: &HttpRequest) -> Cookie<'static> {
    build_cookie(request, String::new(), time::Duration::ZERO)
}

fn build_cookie(request: &HttpRequest, value: String, life: time::Duration) -> Cookie<'static> {
    let own = Own::of(request);
    let name = cookie_name(&own).unwrap_or(HOST_COOKIE);
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(name == HOST_COOKIE)
        .same_site(SameSite::Lax)
        .max_age(life)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_plain_only_over_http_on_this_machine() {
        let name = |https, host: &str| cookie_name(&Own { https, host: host.to_owned() });
        assert_eq!(name(true, "fanfare.example"), Some("__Host-session"));
        assert_eq!(name(true, "localhost:8443"), Some("__Host-session"));
        assert_eq!(name(false, "localhost:8080"), Some("session"));
        assert_eq!(name(false, "fanfare.example"), None);
    }
}
