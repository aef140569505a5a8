//! The pages for people: what this is, the demo, the error codes; and the OpenAPI document, served like them.

use std::{fmt::Write, sync::LazyLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag, Header, IfNoneMatch},
    web::{self, ServiceConfig},
};
use fanfare_protocol::ErrorCode;
use sha2::{Digest, Sha256};

use crate::{openapi, problems::ApiError};

/// Every path under which there is something for people, those of Swagger UI too.
pub(crate) const PATHS: &[&str] = &[
    "/",
    "/demo",
    "/errors",
    "/openapi.json",
    "/assets/site.css",
    "/assets/demo.css",
    "/assets/demo.js",
    "/favicon.ico",
    "/docs",
    "/docs/{file:.*}",
];

/// Everything comes from this server, and no script or style stands in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A text that is served as it is.
struct Page {
    path: &'static str,
    kind: &'static str,
    text: String,
    tag: EntityTag,
}

impl Page {
    fn new(path: &'static str, kind: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        let hash: String = Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path, kind, text, tag: EntityTag::new_strong(hash) }
    }
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let document = openapi::openapi().to_json().expect("the document is made of strings and numbers");
    vec![
        Page::new("/", HTML, include_str!("../assets/index.html")),
        Page::new("/demo", HTML, include_str!("../assets/demo.html")),
        Page::new("/errors", HTML, errors_page()),
        Page::new("/openapi.json", "application/json", document),
        Page::new("/assets/site.css", CSS, include_str!("../assets/site.css")),
        Page::new("/assets/demo.css", CSS, include_str!("../assets/demo.css")),
        Page::new("/assets/demo.js", SCRIPT, include_str!("../assets/demo.js")),
        Page::new("/favicon.ico", ICON, include_str!("../assets/icon.svg")),
    ]
});

pub(crate) fn routes(config: &mut ServiceConfig) {
    for page in PAGES.iter() {
        config.route(page.path, web::get().to(serve));
    }
}

async fn serve(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let page =
        PAGES.iter().find(|page| page.path == request.path()).ok_or_else(|| ApiError::plain(ErrorCode::NotFound))?;
    let known = match IfNoneMatch::parse(&request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&page.tag)),
        Err(_) => false,
    };
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(header::ETag(page.tag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    if known {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(page.kind).body(page.text.as_str()))
}

/// The table of error codes, where `type` of a problem points.
fn errors_page() -> String {
    let mut rows = String::new();
    for code in ErrorCode::ALL {
        let row = code.row();
        let close = row.close.map_or_else(String::new, |close| close.to_string());
        writeln!(
            rows,
            "<tr id=\"{name}\"><td><a href=\"#{name}\"><code>{name}</code></a></td><td>{status}</td><td>{close}</td><td>{retry}</td><td>{title}. {remedy}</td></tr>",
            name = row.name,
            status = row.status,
            retry = row.retry.name(),
            title = escape(row.title),
            remedy = escape(row.remedy),
        )
        .expect("a string takes any text");
    }
    include_str!("errors.html").replace("{rows}", &rows)
}

/// Text as HTML carries it; backquotes stay, as the table uses them for code.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
        http::StatusCode,
        test::{TestRequest, call_service, init_service},
    };

    use super::*;

    #[actix_web::test]
    async fn a_page_that_is_known_already_is_not_sent_again() {
        let service = init_service(App::new().configure(routes)).await;
        for page in PAGES.iter() {
            let first = call_service(&service, TestRequest::get().uri(page.path).to_request()).await;
            assert_eq!(first.status(), StatusCode::OK, "{}", page.path);
            assert_eq!(first.headers().get(header::CACHE_CONTROL).unwrap(), "no-cache");
            let tag = first.headers().get(header::ETAG).unwrap().clone();
            let again = TestRequest::get().uri(page.path).insert_header((header::IF_NONE_MATCH, tag)).to_request();
            assert_eq!(call_service(&service, again).await.status(), StatusCode::NOT_MODIFIED, "{}", page.path);
        }
    }

    #[test]
    fn every_code_has_its_place_on_the_page_of_errors() {
        let page = errors_page();
        for code in ErrorCode::ALL {
            assert!(page.contains(&format!("id=\"{}\"", code.name())), "{}", code.name());
        }
    }
}
