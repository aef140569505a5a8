//! Requests of Pusher's server libraries: signed over method, path, query and the hash of the body.

use std::fmt::Write;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use fanfare_domain::{Timestamp, grants::Grant, pusher};
use fanfare_protocol::{ErrorCode, pusher::PusherChannel};
use md5::{Digest, Md5};

use super::PusherError;
use crate::{
    extract::{Extracting, collect},
    services::Services,
};

/// How far the clock of who signs may be from ours, in seconds.
const WINDOW_S: u64 = 600;
/// The most bytes of a body: ten events of the largest data, each character of it escaped.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A request that a backend of the app has signed.
pub(super) struct Signed {
    pub grant: Grant,
    pub parameters: Parameters,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// The parameters of the query, decoded, their names in lower case.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(request: &HttpRequest) -> Result<Self, PusherError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|_| PusherError::bad("the query string cannot be read"))?.into_inner();
        Ok(Self(pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()))
    }

    /// The first of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All of a name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What is signed of them.
    fn signed_text(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().filter(|(name, _)| name != "auth_signature").collect();
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    fn required(&self, name: &str) -> Result<&str, PusherError> {
        self.get(name).ok_or_else(|| refused(format!("the parameter `{name}` is missing")))
    }
}

fn refused(why: impl Into<String>) -> PusherError {
    PusherError::new(ErrorCode::BadKey, why)
}

impl FromRequest for Signed {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let parameters = Parameters::of(&request)?;
            let grant = authenticate(&request, &parameters).await?;
            // The body of who is not allowed is never read.
            let body = collect(&request, payload, MAX_BODY_BYTES).await.map_err(PusherError::from)?;
            check_body(&parameters, &body)?;
            Ok(Self { grant, parameters, body })
        })
    }
}

async fn authenticate(request: &HttpRequest, parameters: &Parameters) -> Result<Grant, PusherError> {
    let services = Services::of(request);
    let key = parameters.required("auth_key")?;
    let time = parameters.required("auth_timestamp")?;
    let signature = parameters.required("auth_signature")?;
    if parameters.required("auth_version")? != "1.0" {
        return Err(refused("`auth_version` is 1.0"));
    }
    check_time(time, services.now())?;
    let texts = signed_texts(request, parameters);
    let proves = |key: &fanfare_domain::keys::Key, now| {
        texts.iter().any(|text| pusher::verify(key, text.as_bytes(), signature, now).is_ok())
    };
    let known = services.ports.authenticator.proven_backend(key, proves).await;
    let grant = known.map_err(|refusal| match refusal.code {
        ErrorCode::BadKey => refused(format!(
            "the key is not known, or `auth_signature` is not the HMAC-SHA256, in hexadecimal digits, of {:?} with its secret",
            texts[0]
        )),
        _ => refusal.into(),
    })?;
    let app = &grant.profile.app;
    let named = request.match_info().get("app_id");
    if named.is_some_and(|named| named != pusher::app_id(&app.id)) {
        return Err(refused("the key is not of the app that the path names"));
    }
    if !app.pusher.enabled {
        return Err(refused("the app does not speak Pusher: switch its `pusher` on"));
    }
    Ok(grant)
}

fn check_time(text: &str, now: Timestamp) -> Result<(), PusherError> {
    let time: u64 = text.parse().map_err(|_| refused("`auth_timestamp` is a time in whole seconds"))?;
    let now_s = now.0 / 1_000;
    if time.abs_diff(now_s) > WINDOW_S {
        return Err(refused(format!("`auth_timestamp` is more than {WINDOW_S} s from the time here, {now_s}")));
    }
    Ok(())
}

/// What may be signed: some libraries sign the path as they write it, some as it is sent.
fn signed_texts(request: &HttpRequest, parameters: &Parameters) -> Vec<String> {
    let (method, path, query) = (request.method(), request.path(), parameters.signed_text());
    let decoded = decoded(path).filter(|decoded| decoded != path);
    let paths = std::iter::once(path.to_owned()).chain(decoded);
    paths.map(|path| format!("{method}\n{path}\n{query}")).collect()
}

/// A path without percent-encoding.
fn decoded(path: &str) -> Option<String> {
    let query = format!("path={}", path.replace('+', "%2B").replace('&', "%26"));
    let pairs = web::Query::<Vec<(String, String)>>::from_query(&query).ok()?.into_inner();
    pairs.into_iter().next().map(|(_, path)| path)
}

/// The hash is signed with the query; so the body is signed too.
fn check_body(parameters: &Parameters, body: &[u8]) -> Result<(), PusherError> {
    let Some(said) = parameters.get("body_md5") else {
        return if body.is_empty() { Ok(()) } else { Err(refused("the parameter `body_md5` is missing")) };
    };
    let hash = Md5::digest(body).iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    });
    if hash == said.to_ascii_lowercase() { Ok(()) } else { Err(refused("`body_md5` is not the MD5 of the body")) }
}

/// The channel that the path names.
pub(super) async fn channel_of(request: &HttpRequest) -> Result<PusherChannel, PusherError> {
    let (_, name) = web::Path::<(String, String)>::extract(request)
        .await
        .map_err(|_| PusherError::new(ErrorCode::BadChannel, "the channel's name cannot be read"))?
        .into_inner();
    let channel = PusherChannel::parse(&name)?;
    match channel.user() {
        Some(_) => Err(PusherError::new(ErrorCode::BadChannel, "a user's own channel is not told of")),
        None => Ok(channel),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn texts(uri: &str) -> Vec<String> {
        let request = TestRequest::with_uri(uri).to_http_request();
        signed_texts(&request, &Parameters::of(&request).unwrap())
    }

    #[test]
    fn what_is_signed_is_sorted_decoded_and_without_the_signature() {
        assert_eq!(
            texts("/apps/3/channels?info=a,b&Filter_By_Prefix=presence%2D&auth_signature=x&auth_key=k&c[]=2&c[]=1"),
            ["GET\n/apps/3/channels\nauth_key=k&c[]=2&c[]=1&filter_by_prefix=presence-&info=a,b"]
        );
        assert_eq!(
            texts("/apps/3/users/a%20b%26+/x"),
            ["GET\n/apps/3/users/a%20b%26+/x\n", "GET\n/apps/3/users/a b&+/x\n"]
        );
    }

    #[test]
    fn the_clocks_may_differ_by_ten_minutes() {
        let now = Timestamp(1_000_000_999);
        for good in ["999400", "1000600", "1000000"] {
            assert!(check_time(good, now).is_ok(), "{good}");
        }
        for bad in ["999399", "1000601", "", "x", "-1", "1000000.5"] {
            assert!(check_time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_needs_its_hash_and_no_body_may_have_one() {
        let with =
            |query: &str| Parameters::of(&TestRequest::with_uri(&format!("/?{query}")).to_http_request()).unwrap();
        let (of_nothing, of_a) =
            ("body_md5=d41d8cd98f00b204e9800998ecf8427e", "body_md5=0CC175B9c0f1b6a831c399e269772661");
        assert!(check_body(&with(""), b"").is_ok() && check_body(&with(of_nothing), b"").is_ok());
        assert!(check_body(&with(of_a), b"a").is_ok());
        assert!(check_body(&with(""), b"a").is_err());
        assert!(check_body(&with(of_nothing), b"a").is_err() && check_body(&with(of_a), b"").is_err());
    }
}
