//! A revocation reaches every node within a second, whatever is away; a node that cannot know delivers nothing.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::*;
use crate::{
    harness::{signers::OwnKey, sockets::Received},
    revocations::{closed, revoke, token},
};

/// How long a node may deliver after a revocation was answered.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_gateway_and_an_api_node_without_redis_read_what_is_revoked_and_obey() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let elsewhere = tenant.at(fleet.apis[1].url());
    let doomed = token(&tenant, "ann", "doomed");
    let mut socket = Socket::connect(fleet.gateways[0].url(), &doomed).await;
    let signer = tenant.signer("own", OwnKey::P256).await;
    let mut signed = Socket::open(fleet.gateways[0].url()).await;
    let own = OwnKey::P256.token(None, "dan");
    signed.ask(json!({"op": "connect", "token": own, "app": tenant.app})).await;
    let mut stays = fleet.join(&tenant, 0, "bob").await;
    fleet.gateways[0].links.redis().cut();
    fleet.apis[0].links.redis().cut();
    revoke(&elsewhere, json!({"token": "doomed"})).await;
    let answered = Instant::now();
    assert_eq!(closed(&mut socket).await, (4013, "revoked".into()));
    println!("without Redis: closed {:?} after the answer", answered.elapsed());
    let path = format!("/v1/apps/{}/signers/{signer}", tenant.app);
    elsewhere.control(Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(closed(&mut signed).await, (4011, "bad_key".into()));
    until("the api node refuses it", async || {
        let request = tenant.request(Method::POST, "/v1/channels/chat/messages").bearer_auth(&doomed);
        (Answer::of(request.json(&json!({"data": 1}))).await.status == 401).then_some(())
    })
    .await;
    println!("without Redis: refused {:?} after the answer", answered.elapsed());
    // A node that cannot tell the others revokes all the same.
    let mut second = Socket::connect(fleet.gateways[1].url(), &token(&tenant, "cem", "second")).await;
    revoke(&tenant, json!({"token": "second"})).await;
    assert_eq!(closed(&mut second).await, (4013, "revoked".into()));
    stays.subscribe("chat").await;
}

#[tokio::test]
async fn a_gateway_that_can_neither_hear_nor_read_delivers_nothing_and_goes_on_without_loss() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let (mut cut_off, mut other) = (fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await);
    for socket in [&mut cut_off, &mut other] {
        socket.subscribe("chat").await;
    }
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    receive_numbers(&mut cut_off, 1..=3).await;
    let links = &fleet.gateways[0].links;
    links.redis().cut();
    links.postgres.cut();
    let report = until("it says so", async || {
        let report = until_ready(&fleet.gateways[0], false).await;
        (report["checks"]["revocations"]["ok"] == false).then_some(report)
    })
    .await;
    assert!(report["checks"]["revocations"]["problem"].is_string(), "{report}");
    publish_numbers(&fleet, &tenant, "chat", 4..=9).await;
    receive_numbers(&mut other, 1..=9).await;
    for request in [
        json!({"op": "publish", "channel": "chat", "data": 0}),
        json!({"op": "subscribe", "channel": "room"}),
        json!({"op": "history", "channel": "chat"}),
    ] {
        assert_eq!(cut_off.refused(request).await, "unavailable");
    }
    let mut new = Socket::open(fleet.gateways[0].url()).await;
    let known = tenant.short_token("ann", crate::harness::tokens::every_right(), 600.0);
    assert_eq!(new.refused(json!({"op": "connect", "token": known})).await, "unavailable");
    assert_eq!(closed(&mut new).await, (4100, "unavailable".into()));
    links.redis().restore();
    links.postgres.restore();
    receive_numbers(&mut cut_off, 4..=9).await;
    publish_numbers(&fleet, &tenant, "chat", 10..=12).await;
    receive_numbers(&mut cut_off, 10..=12).await;
    until_ready(&fleet.gateways[0], true).await;
}

#[tokio::test]
async fn a_gateway_that_was_stopped_across_a_revocation_delivers_nothing_more_to_who_is_cut_off() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut doomed = Socket::connect(fleet.gateways[0].url(), &token(&tenant, "ann", "doomed")).await;
    let mut client = Socket::connect(fleet.gateways[0].url(), &token(&tenant, "bob", "bob's")).await;
    let mut stays = fleet.join(&tenant, 0, "cem").await;
    for socket in [&mut doomed, &mut client, &mut stays] {
        socket.subscribe("chat").await;
    }
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    for socket in [&mut doomed, &mut client, &mut stays] {
        receive_numbers(socket, 1..=3).await;
    }
    fleet.gateways[0].stop();
    revoke(&tenant, json!({"token": "doomed"})).await;
    revoke(&tenant, json!({"client": "bob"})).await;
    let answered = Instant::now();
    let mut last = 3;
    while answered.elapsed() < 2 * BOUND {
        last += 1;
        publish_numbers(&fleet, &tenant, "chat", last..=last).await;
    }
    fleet.gateways[0].cont();
    for socket in [&mut doomed, &mut client] {
        let (events, end) = socket.closed().await;
        assert!(events.iter().all(|event| event["op"] != "message"), "{events:?}");
        assert_eq!(end, Received::Close(4013, "revoked".into()));
    }
    receive_numbers(&mut stays, 4..=last).await;
}

#[tokio::test]
async fn an_api_node_that_can_neither_hear_nor_read_refuses_and_says_so() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    post(&tenant, "chat", json!(1)).await.expect(StatusCode::ACCEPTED);
    let links = &fleet.apis[0].links;
    links.postgres.cut();
    // The workers' beats still tell that nothing was revoked.
    for number in 2..=4 {
        post(&tenant, "chat", json!(number)).await.expect(StatusCode::ACCEPTED);
    }
    links.redis().cut();
    let report = until_ready(&fleet.apis[0], false).await;
    assert_eq!(report["checks"]["revocations"]["ok"], false, "{report}");
    post(&tenant, "chat", json!(5)).await.expect_problem(503, "unavailable");
    links.redis().restore();
    until_ready(&fleet.apis[0], true).await;
    post(&tenant, "chat", json!(6)).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_suspended_tenant_is_cut_off_on_every_node_that_runs() {
    let fleet = fleet().await;
    let (tenant, other) = (fleet.tenant().await, fleet.tenant().await);
    let (mut one, mut two) = (fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await);
    let mut stays = fleet.join(&other, 0, "ann").await;
    fleet.production.run(&["suspend", &tenant.tenant]).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(closed(socket).await, (4020, "app_disabled".into()));
    }
    for api in &fleet.apis {
        post(&tenant.at(api.url()), "chat", json!(1)).await.expect_problem(403, "app_disabled");
    }
    stays.subscribe("chat").await;
    fleet.production.run(&["suspend", &tenant.tenant, "--lift"]).await;
    until("it goes on", async || (post(&tenant, "chat", json!(2)).await.status == 202).then_some(())).await;
}
