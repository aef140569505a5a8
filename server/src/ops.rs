//! The operations listener: `/healthz`, `/readyz`, `/metrics`, and `/test/faults` where faults can be made; not for the public.

use std::{io, net::TcpListener, sync::Arc};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    get,
    http::header,
    web::{Data, ServiceConfig},
};
use fanfare_gateway::Faults;
use fanfare_infra::telemetry::Metrics;

use crate::{faults, readiness::Readiness};

/// Serves the listener.
///
/// # Errors
/// It cannot be served.
pub fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    faults: Option<Faults>,
) -> io::Result<Server> {
    let routes = move || App::new().configure(routes(readiness.clone(), metrics.clone(), faults.clone()));
    let server = HttpServer::new(routes).workers(1).disable_signals().listen(listener)?;
    Ok(server.run())
}

fn routes(readiness: Arc<Readiness>, metrics: Metrics, faults: Option<Faults>) -> impl FnOnce(&mut ServiceConfig) {
    move |services| {
        services.app_data(Data::from(readiness)).app_data(Data::new(metrics));
        services.service(alive).service(ready).service(export);
        if let Some(faults) = faults {
            services.app_data(Data::new(faults)).service(faults::make);
        }
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
