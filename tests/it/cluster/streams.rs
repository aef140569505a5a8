//! Streams over HTTP on several gateways: any node serves the next call.

use super::*;
use crate::harness::{
    streams::{polls_are_in, serials},
    tokens::every_right,
};

#[tokio::test]
async fn a_stream_goes_on_at_another_gateway_when_its_own_is_killed() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let mut stream = tenant.at(fleet.gateways[0].url()).stream(&token, "channel=chat", None).await;
    stream.next_of("open").await;
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    stream.serials(1..=3).await;
    fleet.gateways[0].kill9().await;
    assert_eq!(stream.next().await, None);
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    let other = tenant.at(fleet.gateways[1].url());
    let mut stream = other.stream(&token, "channel=chat", Some(&stream.last_id)).await;
    stream.next_of("open").await;
    publish_numbers(&fleet, &tenant, "chat", 7..=9).await;
    stream.serials(4..=9).await;
}

#[tokio::test]
async fn polls_go_round_the_gateways_and_miss_nothing() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let (_, mut cursor) = tenant.at(fleet.gateways[0].url()).polled(&token, "channel=chat").await;
    let (mut seen, mut round) = (Vec::new(), 0);
    let publishing = publish_numbers(&fleet, &tenant, "chat", 1..=30);
    let polling = async {
        while seen.len() < 30 {
            round += 1;
            let gateway = tenant.at(fleet.gateways[round % 2].url());
            let (messages, next) = gateway.polled(&token, &format!("channel=chat&cursor={cursor}")).await;
            seen.extend(serials(&messages));
            cursor = next;
        }
    };
    tokio::join!(publishing, polling);
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_revoked_key_ends_streams_and_waiting_polls_on_every_gateway() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let second = tenant.with_key(json!({"name": "second"})).await;
    let token = second.short_token("ann", every_right(), 3_600.0);
    let (mut streams, mut polls) = (Vec::new(), Vec::new());
    for gateway in &fleet.gateways {
        let at = tenant.at(gateway.url());
        let mut stream = at.stream(&token, "channel=chat", None).await;
        stream.next_of("open").await;
        streams.push(stream);
        let (_, cursor) = at.polled(&token, "channel=chat").await;
        polls.push((at, format!("channel=chat&cursor={cursor}")));
    }
    let revoking = async {
        for gateway in &fleet.gateways {
            polls_are_in(gateway, 2).await;
        }
        let key = format!("/v1/apps/{}/keys/{}", tenant.app, second.key);
        tenant.control(Method::DELETE, &key, Value::Null).await.expect(reqwest::StatusCode::NO_CONTENT);
    };
    let waiting = futures::future::join_all(polls.iter().map(|(at, query)| at.poll(&token, query)));
    let (answers, ()) = tokio::join!(waiting, revoking);
    for answer in answers {
        answer.expect_problem(401, "bad_key");
    }
    for mut stream in streams {
        assert_eq!(stream.next_of("error").await.data["error"]["code"], "bad_key");
        assert_eq!(stream.next().await, None);
    }
}
