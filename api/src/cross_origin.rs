//! Web pages of other origins (CORS) on the data plane: preflights are answered for any, without credentials; an answer is theirs to
//! read only if the app allows their origin. The control plane is for our own pages.

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
};
use fanfare_domain::origins::{self, ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS};

use crate::{extract::named_credential, services::Services};

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_S: u32 = 7_200;
/// What the addresses of the data plane have after `/v1/`.
const DATA_PLANE: [&str; 6] = ["authorize", "channels", "clients", "messages", "revocations", "tokens"];

/// What the answer to a request of another origin says of that.
enum Sharing {
    /// The app allows this origin to read it.
    With(HeaderValue),
    /// It does not.
    None,
}

fn is_data_plane(path: &str) -> bool {
    let first = path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next());
    first.is_some_and(|first| DATA_PLANE.contains(&first))
}

/// Middleware for `from_fn`, inside [`crate::observe()`], which writes the headers.
pub(crate) async fn share(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if is_data_plane(request.path()) {
        if request.method() == Method::OPTIONS {
            return Ok(request.into_response(preflight()));
        }
        let sharing = sharing(request.request()).await;
        request.extensions_mut().insert(sharing);
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S))
        .finish()
}

async fn sharing(request: &HttpRequest) -> Sharing {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Sharing::None };
    let (Ok(text), Some(named)) = (origin.to_str(), named_credential(request)) else { return Sharing::None };
    let directory = Services::of(request).ports.directory.clone();
    match origins::app_of(directory.as_ref(), &named.credential, named.app.as_deref()).await {
        Some(profile) if profile.app.origins.allow(text) => Sharing::With(origin.clone()),
        _ => Sharing::None,
    }
}

/// Writes the headers of an answer on the data plane.
pub(crate) fn write_headers(request: &HttpRequest, headers: &mut HeaderMap) {
    let extensions = request.extensions();
    let Some(sharing) = extensions.get::<Sharing>() else { return };
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Sharing::With(origin) = sharing {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_data_plane_is_shared() {
        for path in ["/v1/channels/a/messages", "/v1/messages", "/v1/tokens"] {
            assert!(is_data_plane(path), "{path}");
        }
        for path in ["/v1/signup", "/v1/apps/app_1", "/v1/me", "/v1/messagesx", "/docs", "/channels/x"] {
            assert!(!is_data_plane(path), "{path}");
        }
    }
}
