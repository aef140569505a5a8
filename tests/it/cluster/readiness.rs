//! Readiness tells whether messages would arrive, by role, within five seconds.

use std::time::{Duration, Instant};

use super::*;
use crate::harness::stalls::Stalls;

const BOUND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_gateway_that_hears_nothing_while_publishing_works_is_unready_within_five_seconds() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    for stalled in [false, true] {
        let (link, begun, stalls) = (fleet.gateways[0].links.redis(), Instant::now(), Stalls::begin());
        if stalled {
            link.stall()
        } else {
            link.cut()
        }
        let report = until_ready(&fleet.gateways[0], false).await;
        stalls.hold("a gateway without the bus", begun.elapsed(), BOUND);
        assert_eq!(report["checks"]["bus"]["ok"], false, "{report}");
        // The others go on.
        tenant.publish("chat", json!(1)).await;
        for other in [&fleet.gateways[1], &fleet.apis[0], &fleet.workers[0]] {
            until_ready(other, true).await;
        }
        link.restore();
        until_ready(&fleet.gateways[0], true).await;
    }
}

#[tokio::test]
async fn each_role_is_unready_without_what_it_needs_and_only_then() {
    let fleet = fleet().await;
    let (api, worker) = (&fleet.apis[0], &fleet.workers[0]);
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    api.links.rabbitmq.stall();
    let report = until_ready(api, false).await;
    stalls.hold("an api without the queue", begun.elapsed(), BOUND);
    assert_eq!(report["checks"]["queue"]["ok"], false, "{report}");
    api.links.rabbitmq.restore();
    until_ready(api, true).await;
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    worker.links.postgres.cut();
    until_ready(worker, false).await;
    stalls.hold("a worker without the database", begun.elapsed(), BOUND);
    worker.links.postgres.restore();
    until_ready(worker, true).await;
    // An API node accepts what is published without Postgres, and without Redis; without both it could miss a revocation.
    for (check, link) in [("database", &api.links.postgres), ("bus", api.links.redis())] {
        link.cut();
        let named = until("it is named", async || {
            let report = until_ready(api, true).await;
            let is_away = report["checks"][check]["ok"] == false && report["checks"][check]["optional"] == true;
            is_away.then_some(report)
        })
        .await;
        assert_eq!(named["checks"]["queue"]["ok"], true, "{named}");
        link.restore();
    }
}
