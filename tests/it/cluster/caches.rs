//! What nodes keep of keys and apps: forgotten at once where it changes, good while Postgres is away.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::*;
use crate::harness::{sockets::Received, stalls::Stalls, tokens::every_right};

/// How long what changed at one node may be unknown at another after the answer.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_key_that_is_revoked_at_one_node_ends_its_sockets_and_requests_at_the_others_within_a_second() {
    let fleet = fleet().await;
    let owner = fleet.tenant().await;
    let other = owner.with_key(json!({"name": "other"})).await;
    let elsewhere = other.at(fleet.apis[1].url());
    post(&elsewhere, "chat", json!(1)).await.expect(StatusCode::ACCEPTED);
    let mut sockets = [fleet.join(&other, 0, "ann").await, fleet.join(&other, 1, "bob").await];
    let mut stays = fleet.join(&owner, 1, "cem").await;
    let path = format!("/v1/apps/{}/keys/{}", owner.app, other.key);
    owner.control(Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    let (answered, stalls) = (Instant::now(), Stalls::begin());
    for socket in &mut sockets {
        assert!(matches!(socket.closed().await.1, Received::Close(4000..4100, _)));
    }
    until("the other API node refuses it", async || {
        (post(&elsewhere, "chat", json!(2)).await.status == 401).then_some(())
    })
    .await;
    stalls.hold("the revocation", answered.elapsed(), BOUND);
    stays.subscribe("chat").await;
}

#[tokio::test]
async fn a_rule_that_is_set_at_one_node_holds_at_the_others_at_once() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let elsewhere = tenant.at(fleet.apis[1].url());
    post(&elsewhere, "cursors:1", json!(1)).await.expect(StatusCode::ACCEPTED);
    tenant.rule("cursors", json!({"history": null})).await;
    let (answered, stalls) = (Instant::now(), Stalls::begin());
    until("the other node knows the rule", async || {
        let path = "/v1/channels/cursors:1/messages?ack=persisted";
        let answer = elsewhere.data(Method::POST, path, json!({"data": 2})).await;
        (answer.body["code"] == "history_off").then_some(())
    })
    .await;
    stalls.hold("the rule", answered.elapsed(), BOUND);
}

#[tokio::test]
async fn keys_and_tokens_that_a_node_knows_go_on_while_postgres_is_away_and_others_are_unavailable() {
    let fleet = fleet().await;
    let (tenant, stranger) = (fleet.tenant().await, fleet.tenant().await);
    post(&tenant, "chat", json!(1)).await.expect(StatusCode::ACCEPTED);
    let known = tenant.short_token("ann", every_right(), 600.0);
    Socket::connect(fleet.gateways[0].url(), &known).await;
    cut(&fleet, |links| &links.postgres);
    let mut socket = Socket::connect(fleet.gateways[0].url(), &known).await;
    assert_eq!(socket.connected["client"], "ann");
    post(&tenant, "chat", json!(2)).await.expect(StatusCode::ACCEPTED);
    post(&stranger, "chat", json!(1)).await.expect_problem(503, "unavailable");
    let unknown = stranger.short_token("bob", every_right(), 600.0);
    let mut refused = Socket::open(fleet.gateways[0].url()).await;
    assert_eq!(refused.refused(json!({"op": "connect", "token": unknown})).await, "unavailable");
    assert!(matches!(refused.close_code().await, 4100..4200));
    restore(&fleet, |links| &links.postgres);
    publish_numbers(&fleet, &stranger, "room", 1..=3).await;
    socket.subscribe("chat").await;
}
