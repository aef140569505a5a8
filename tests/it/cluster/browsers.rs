//! A browser at one address before two gateways, one of which is killed: its own `EventSource` and `WebSocket` come back and miss nothing.

use super::*;
use crate::harness::{browser::Page, pages::other_origin, tokens::every_right};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_comes_back_by_its_own_means_to_the_gateway_that_is_left_and_misses_nothing() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let port = |node: &Server| node.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let balancer = Proxy::start(port(&fleet.gateways[0])).await;
    let address = format!("127.0.0.1:{}", balancer.port());
    let mut page = Page::open(&other_origin().await).await;
    page.wait_for("typeof follow_socket === 'function'").await;
    page.evaluate(&format!("follow('http://{address}/v1/sse?channel=chat&token={token}')")).await;
    page.evaluate(&format!("follow_socket('ws://{address}/v1/connect', '{token}', 'chat')")).await;
    page.wait_for("window.opened === 1 && window.socket_state.connections === 1").await;
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    page.wait_for("window.seen.length === 3 && window.socket_state.serials.length === 3").await;

    fleet.gateways[0].kill9().await;
    page.wait_for("window.errors > 0 && window.socket_state.closes > 0").await;
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    balancer.lead_to(port(&fleet.gateways[1]));
    page.wait_for("window.opened === 2 && window.socket_state.connections === 2").await;
    publish_numbers(&fleet, &tenant, "chat", 7..=9).await;
    page.wait_for("window.seen.length >= 9 && window.socket_state.serials.length >= 9").await;
    let all = json!([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(page.evaluate("window.seen.map(([serial]) => serial)").await, all);
    assert_eq!(page.evaluate("window.socket_state.serials").await, all);
    assert_eq!(page.evaluate("window.socket_state.resumed").await, json!([null, true]));
}
