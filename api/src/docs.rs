//! The API's documentation: the OpenAPI document, and Swagger UI from the binary.

use std::sync::{Arc, LazyLock};

use actix_web::{
    HttpResponse, get,
    http::header,
    web::{Path, ServiceConfig},
};
use fanfare_protocol::ErrorCode;
use utoipa_swagger_ui::Config;

use crate::problems::ApiError;

/// Swagger UI styles its elements in place and draws from `data:` URLs; scripts come from this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Without a validator, the page asks nobody but this server.
    Arc::new(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true).display_operation_id(false))
});

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(entrance).service(swagger_file);
}

#[get("/docs")]
async fn entrance() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/docs/")).finish()
}

#[get("/docs/{file:.*}")]
async fn swagger_file(file: Path<String>) -> Result<HttpResponse, ApiError> {
    let nothing = || ApiError::plain(ErrorCode::NotFound);
    let found =
        utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG)).map_err(|_| ApiError::plain(ErrorCode::Internal))?;
    let file = found.ok_or_else(nothing)?;
    let mut answer = HttpResponse::Ok();
    if file.gzpipped {
        answer.insert_header(header::ContentEncoding::Gzip);
    }
    answer
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(answer.body(file.bytes.into_owned()))
}
