//! `GET /v1/sse`: a stream as server-sent events, for the browser's own `EventSource` and for `fetch`.

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    body::BoxBody,
    http::{Method, header},
    web,
};

mod body;
mod events;

use body::Body;

use crate::{accept, cross_origin, sockets::Transport, streams};

/// Where a stream of events is opened.
pub(crate) fn resource() -> Resource {
    web::resource("/v1/sse")
        .route(web::get().to(open))
        .route(web::method(Method::OPTIONS).to(cross_origin::preflight))
        .default_service(web::to(accept::other_method))
}

async fn open(request: HttpRequest) -> HttpResponse {
    match streams::begin(&request, Transport::Sse).await {
        Ok((stream, asked)) => {
            let mut answer = HttpResponse::Ok()
                .content_type("text/event-stream")
                .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
                // Proxies that gather an answer before they pass it on are told not to.
                .insert_header(("x-accel-buffering", "no"))
                .body(BoxBody::new(Body::new(stream)));
            cross_origin::share(asked.origin.as_deref(), answer.headers_mut());
            answer
        }
        Err(refused) => refused,
    }
}
