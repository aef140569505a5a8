//! A trace crosses processes: in the envelopes of the queue and of the bus.

use serde_json::json;

use super::{CALLER, SPAN, TRACE, collector::Collector, publish_traced};
use crate::harness::{nodes::Production, server::Options, sockets::Socket, tenants::Tenant};

const PATH: &str = "/v1/channels/chat:1/messages";

#[actix_web::test]
async fn a_trace_goes_on_from_process_to_process_also_through_one_that_exports_nothing() {
    let mut collector = Collector::start().await;
    let production = Production::start(4).await;
    let exporting = |role| production.node_with(Options::role(role).env("FANFARE_OTLP_ENDPOINT", collector.url()));
    let (api, silent, gateway, _worker) =
        tokio::join!(exporting("api"), production.node("api"), exporting("gateway"), exporting("worker"));
    let tenant = Tenant::sign_up(&api).await;
    let mut socket = Socket::connect(gateway.url(), &tenant.full_token("ann").await).await;
    socket.subscribe("chat:1").await;

    publish_traced(&tenant, PATH, CALLER, json!({"data": 1})).await;
    socket.event_of("message").await;
    let (publish, deliver, fan_out) =
        (collector.one("publish").await, collector.one("deliver").await, collector.one("fan_out").await);
    assert_eq!([&publish.trace, &deliver.trace, &fan_out.trace], [TRACE; 3]);
    assert_eq!((publish.parent.as_str(), &deliver.parent, &fan_out.parent), (SPAN, &publish.id, &deliver.id));
    let services = [&publish, &deliver, &fan_out].map(|span| span.service.as_str());
    assert_eq!(services, ["fanfare-api", "fanfare-worker", "fanfare-gateway"]);

    publish_traced(&tenant.at(silent.url()), PATH, CALLER, json!({"data": 2})).await;
    socket.event_of("message").await;
    let delivers = collector.named("deliver", 2).await;
    let fan_outs = collector.named("fan_out", 2).await;
    assert_eq!((delivers[1].trace.as_str(), delivers[1].parent.as_str()), (TRACE, SPAN));
    assert_eq!(fan_outs[1].parent, delivers[1].id);
    assert_eq!(collector.named("publish", 1).await.len(), 1);
}
