//! The operations listener: `/healthz`, `/readyz`, `/metrics`; not for the public.

use std::sync::Arc;

use actix_web::{
    HttpResponse, get,
    http::header,
    web::{Data, ServiceConfig},
};
use fanfare_infra::telemetry::Metrics;

use crate::readiness::Readiness;

/// The routes of the listener.
pub fn routes(readiness: Arc<Readiness>, metrics: Metrics) -> impl FnOnce(&mut ServiceConfig) {
    move |services| {
        services.app_data(Data::from(readiness)).app_data(Data::new(metrics));
        services.service(alive).service(ready).service(export);
    }
}

#[get("/healthz")]
async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

#[get("/readyz")]
async fn ready(readiness: Data<Readiness>) -> HttpResponse {
    let report = readiness.report().await;
    let mut answer = if report.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((header::CACHE_CONTROL, "no-store")).json(report)
}

#[get("/metrics")]
async fn export(metrics: Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}
