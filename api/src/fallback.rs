//! What nothing else takes: an unknown path, or a known one with another method.

use std::sync::LazyLock;

use actix_web::{Error, HttpRequest, dev::ResourceDef};
use fanfare_protocol::ErrorCode;

use crate::{
    openapi, pages,
    problems::ApiError,
    pusher::{PREFIX, PusherError},
};

/// Every path, and the methods that it takes, as `Allow` lists them.
static PATHS: LazyLock<Vec<(ResourceDef, String)>> = LazyLock::new(|| {
    let document = openapi::openapi();
    let ours = document.paths.paths.iter().filter(|(path, _)| !openapi::streams::PATHS.contains(&path.as_str()));
    let operations = ours.map(|(path, item)| {
        let methods = openapi::methods(item).join(", ");
        // What is signed is not answered by another method's name.
        let methods = if path.starts_with(PREFIX) { methods.replace("GET, HEAD", "GET") } else { methods };
        (path.clone(), methods)
    });
    let pages = pages::PATHS.iter().map(|path| ((*path).to_owned(), "GET, HEAD".to_owned()));
    operations.chain(pages).map(|(path, methods)| (ResourceDef::new(path), methods)).collect()
});

/// Refuses the request, by which of the two it is.
pub(crate) async fn refuse(request: HttpRequest) -> Result<&'static str, Error> {
    let refused = refusal(request.path(), request.method().as_str());
    // Each API has its own form of refusals.
    Err(if request.path().starts_with(PREFIX) { PusherError::from(refused).into() } else { refused.into() })
}

fn refusal(path: &str, method: &str) -> ApiError {
    match PATHS.iter().find(|(pattern, _)| pattern.is_match(path)) {
        Some((_, allow)) => ApiError {
            allow: Some(allow.clone()),
            ..ApiError::new(ErrorCode::MethodNotAllowed, format!("{method} is not one of {allow}"))
        },
        None => ApiError::plain(ErrorCode::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_path_names_its_methods_and_an_unknown_one_is_not_found() {
        assert_eq!(refusal("/v1/apps/app_1", "PUT").allow.as_deref(), Some("GET, HEAD, PATCH, DELETE"));
        assert_eq!(refusal("/v1/channels/chat%3A1/messages", "PUT").allow.as_deref(), Some("GET, HEAD, POST"));
        assert_eq!(refusal("/docs/swagger-ui.css", "POST").allow.as_deref(), Some("GET, HEAD"));
        assert_eq!(refusal("/apps/1/channels", "HEAD").allow.as_deref(), Some("GET"));
        for path in ["/v1", "/v1/apps/app_1/", "/v1/apps/app_1/keys/fk_1/rotate/x", "/nothing"] {
            assert_eq!(refusal(path, "GET").refusal.code, ErrorCode::NotFound, "{path}");
        }
    }
}
