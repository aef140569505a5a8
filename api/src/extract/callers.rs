//! Callers of the data plane: a backend with an API key, or a client with a token.

use std::sync::Arc;

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web};
use base64::{Engine, prelude::BASE64_STANDARD};
use fanfare_domain::{Refusal, grants::Grant, ids::KeyId, keys::Key};
use fanfare_protocol::{ChannelName, ErrorCode};
use secrecy::SecretString;

use super::{Extracting, Query, queries::wrong};
use crate::{problems::ApiError, services::Services};

/// Who is calling on the data plane.
pub(crate) struct Caller {
    pub grant: Grant,
    /// The key, where its secret was given.
    pub key: Option<Arc<Key>>,
}

impl Caller {
    /// The key of a backend; a client's token does not serve.
    pub fn require_key(&self) -> Result<&Key, Refusal> {
        self.key
            .as_deref()
            .ok_or_else(|| Refusal::new(ErrorCode::Forbidden, "this needs an API key; a client token does not serve"))
    }
}

/// What an `Authorization` header holds.
enum Credential {
    Key { id: String, secret: SecretString },
    Token(String),
}

impl FromRequest for Caller {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let authenticator = &Services::of(&request).ports.authenticator;
            let app = named_app(&request).await?;
            let caller = match credential(&request)? {
                Credential::Key { id, secret } => {
                    let (grant, key) =
                        authenticator.backend(&id, &secret, app.as_deref()).await.map_err(ApiError::from)?;
                    Caller { grant, key: Some(key) }
                }
                Credential::Token(token) => {
                    let grant = authenticator.client(&token, app.as_deref()).await.map_err(ApiError::from)?;
                    Caller { grant, key: None }
                }
            };
            Ok(caller)
        })
    }
}

/// The app that the caller says it calls: in the header `Fanfare-App`, or in `?app=`. It must be the credential's own.
async fn named_app(request: &HttpRequest) -> Result<Option<String>, actix_web::Error> {
    let by_query = Query::extract(request).await?.text("app")?.map(str::to_owned);
    let by_header = request.headers().get("fanfare-app").map(|app| app.to_str().unwrap_or_default().to_owned());
    match (by_header, by_query) {
        (Some(header), Some(query)) if header != query => Err(wrong("app", "is another than in `Fanfare-App`").into()),
        (header, query) => Ok(header.or(query)),
    }
}

/// What a request names, good or not: for what its app lets other origins read.
pub(crate) struct Named {
    /// A token, or a key's id.
    pub credential: String,
    pub app: Option<String>,
}

/// The credential and the app that a request names.
pub(crate) fn named_credential(request: &HttpRequest) -> Option<Named> {
    let credential = match credential(request).ok()? {
        Credential::Key { id, .. } => id,
        Credential::Token(token) => token,
    };
    let by_header = request.headers().get("fanfare-app").and_then(|app| app.to_str().ok());
    Some(Named { credential, app: by_header.map(str::to_owned) })
}

fn credential(request: &HttpRequest) -> Result<Credential, ApiError> {
    let Some(value) = request.headers().get(AUTHORIZATION) else {
        return Err(ApiError::plain(ErrorCode::Unauthorized));
    };
    let unclear =
        || ApiError::new(ErrorCode::Unauthorized, "the `Authorization` header is neither `Bearer …` nor `Basic …`");
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(unclear)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = BASE64_STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return key(decoded.as_deref().and_then(|text| text.split_once(':')));
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unclear());
    }
    if rest.starts_with(KeyId::PREFIX) {
        return key(rest.split_once('.'));
    }
    if rest.starts_with("ses_") {
        return Err(ApiError::new(
            ErrorCode::Unauthorized,
            "this needs an API key or a client token; a session serves the control plane",
        ));
    }
    Ok(Credential::Token(rest.to_owned()))
}

fn key(halves: Option<(&str, &str)>) -> Result<Credential, ApiError> {
    match halves {
        Some((id, secret)) => Ok(Credential::Key { id: id.to_owned(), secret: SecretString::from(secret) }),
        None => Err(ApiError::plain(ErrorCode::BadKey)),
    }
}

/// A caller, and the channel that the path names.
pub(crate) struct OnChannel {
    pub caller: Caller,
    pub channel: ChannelName,
}

impl FromRequest for OnChannel {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = Caller::extract(&request).await?;
            let name =
                web::Path::<String>::extract(&request).await.map_err(|_| ApiError::plain(ErrorCode::BadChannel))?;
            let channel =
                ChannelName::parse(&name).map_err(|bad| ApiError::new(ErrorCode::BadChannel, bad.to_string()))?;
            Ok(Self { caller, channel })
        })
    }
}
