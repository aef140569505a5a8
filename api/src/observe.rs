//! What happens around every request: its id, its span, its metrics, and the headers that every answer has.

use std::{fmt, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use fanfare_domain::{metrics::Metric, secrets, traces::TraceParent};
use fanfare_protocol::ErrorCode;
use tracing::{Instrument, Level, Span, debug, enabled, error, field::Empty, info_span};

use crate::{
    cross_origin, limits, origins,
    problems::ApiError,
    pusher::{PREFIX, PusherError},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The id of a request: what the caller sent, if it is short and plain, else a new one.
#[derive(Debug, Clone)]
struct RequestId(Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        match sent.filter(|text| is_plain(text)) {
            Some(text) => Self(text.into()),
            None => Self(new_id().into()),
        }
    }

    fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("ids are plain text")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn new_id() -> String {
    secrets::random_name("req_")
}

/// The trace that the caller says the request belongs to.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok().and_then(TraceParent::parse)
}

/// Middleware for `from_fn`: gives the request an id and a span, counts it, and completes its answer.
///
/// [`crate::routes`] has it already; around the whole `App` it serves what else is mounted there, and the inner one stands back.
pub async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.extensions().get::<RequestId>().is_some() {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    // For who refuses without us.
    request.headers_mut().insert(X_REQUEST_ID, id.to_header());
    let method = request.method().clone();
    let caller = origins::peer(&request.extensions(), request.peer_addr()).address;
    let span = info_span!("request", request.id = %id, client.address = %caller, http.method = %method, http.route = Empty, trace.id = Empty);
    if let Some(trace) = trace(request.headers()) {
        span.record("trace.id", trace.trace_id());
    }
    if method == Method::HEAD && !is_connection(request.path()) && !is_signed(request.path()) {
        // Answered as GET; the connection leaves the body out.
        request.head_mut().method = Method::GET;
    }
    let begun = Instant::now();
    let answer = match origins::require_private_credentials(&request) {
        Ok(()) => next.call(request).instrument(span.clone()).await?.map_into_boxed_body(),
        Err(refused) => request.error_response(refused),
    };
    let answer = span.in_scope(|| complete(answer, &id, &method));
    count(answer.status(), begun);
    Ok(answer)
}

/// Where an answer goes on until the client ends it, so that there is no answering without a body.
fn is_connection(path: &str) -> bool {
    ["/v1/connect", "/v1/sse", "/v1/poll"].contains(&path)
}

/// Where a request is signed as it was sent, so that it is not another one's either.
fn is_signed(path: &str) -> bool {
    path.starts_with(PREFIX)
}

fn complete(answer: ServiceResponse, id: &RequestId, method: &Method) -> ServiceResponse {
    let mut answer = with_problem(answer, id);
    if enabled!(Level::DEBUG) {
        let route = answer.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
        Span::current().record("http.route", &route);
        debug!(http.status = answer.status().as_u16(), "Answered {method} {route} with {}", answer.status().as_u16());
    }
    let request = answer.request().clone();
    let headers = answer.headers_mut();
    limits::write_headers(&request, headers);
    cross_origin::write_headers(&request, headers);
    headers.insert(X_REQUEST_ID, id.to_header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

/// Puts the request's id into the body of a refusal, which is made where the id is not known.
fn with_problem(answer: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let Some(failure) = answer.response().error() else { return answer };
    if failure.as_error::<PusherError>().is_some() {
        return answer;
    }
    let problem = match failure.as_error::<ApiError>() {
        Some(refused) => refused.answer(Some(&id.0)),
        None => unforeseen(failure, answer.status()).answer(Some(&id.0)),
    };
    let (request, _) = answer.into_parts();
    ServiceResponse::new(request, HttpResponse::map_into_boxed_body(problem))
}

/// A failure of the framework's own.
fn unforeseen(failure: &Error, status: StatusCode) -> ApiError {
    if status.is_client_error() {
        return ApiError::plain(ErrorCode::BadRequest);
    }
    error!(error = %failure, "A request failed in a way that no handler foresaw");
    ApiError::plain(ErrorCode::Internal)
}

fn count(status: StatusCode, begun: Instant) {
    let class = match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    Metric::HttpRequests.add_labelled(class, 1);
    if status != StatusCode::SWITCHING_PROTOCOLS {
        Metric::HttpSeconds.observe(begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{App, middleware::from_fn, test, web};

    use super::*;

    #[actix_web::test]
    async fn a_plain_request_id_is_taken_and_a_strange_one_is_replaced() {
        let app = App::new().wrap(from_fn(observe)).route("/", web::get().to(HttpResponse::NoContent));
        let service = test::init_service(app).await;
        for (sent, kept) in [("abc-1.2_3", true), ("a b", false), ("", false), (&"x".repeat(65), false)] {
            let request = test::TestRequest::get().uri("/").insert_header((X_REQUEST_ID, sent)).to_request();
            let answer = test::call_service(&service, request).await;
            let id = answer.headers().get(X_REQUEST_ID).unwrap().to_str().unwrap();
            assert_eq!(id == sent, kept, "{sent}");
            assert!(kept || id.starts_with("req_") && id.len() == 24, "{id}");
        }
    }

    #[actix_web::test]
    async fn a_refusal_carries_the_id_of_its_request_also_under_two_layers() {
        let refuse = || async { Err::<HttpResponse, _>(ApiError::plain(ErrorCode::NotFound)) };
        let app = App::new()
            .wrap(from_fn(observe))
            .service(web::scope("").wrap(from_fn(observe)).default_service(web::to(refuse)));
        let service = test::init_service(app).await;
        let request = test::TestRequest::get().uri("/x").insert_header((X_REQUEST_ID, "mine")).to_request();
        let answer = test::call_service(&service, request).await;
        assert_eq!(answer.headers().get_all(X_REQUEST_ID).count(), 1);
        let problem: serde_json::Value = test::read_body_json(answer).await;
        assert_eq!((problem["code"].as_str(), problem["request_id"].as_str()), (Some("not_found"), Some("mine")));
    }
}
