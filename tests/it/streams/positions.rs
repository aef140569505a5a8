//! Streams and polls that begin each channel after a position of its own, without a cursor.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    streams::serials,
    tenants::{self, Tenant},
};

async fn epoch(tenant: &Tenant) -> String {
    let history =
        tenant.data(Method::GET, "/v1/channels/a/messages", Value::Null).await.expect(reqwest::StatusCode::OK);
    history["epoch"].as_str().expect("an epoch").to_owned()
}

#[actix_web::test]
async fn a_stream_begins_each_channel_after_its_own_position() {
    let (_server, tenant) = tenants::start().await;
    for data in 1..=3 {
        tenant.publish("a", json!(data)).await;
        tenant.publish("b", json!(data)).await;
    }
    let epoch = epoch(&tenant).await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, &format!("channel=b&channel=a&since={epoch}:1"), None).await;
    let opened = stream.next_of("open").await.data;
    assert_eq!(opened["positions"][0]["resumed"], true, "{opened}");
    assert_eq!((&opened["positions"][1]["serial"], &opened["positions"][1]["backlog"]), (&json!(3), &json!(0)));
    stream.serials(2..=3).await;
}

#[actix_web::test]
async fn a_poll_goes_on_from_positions_and_tells_where_it_began() {
    let (_server, tenant) = tenants::start().await;
    for data in 1..=3 {
        tenant.publish("a", json!(data)).await;
    }
    let epoch = epoch(&tenant).await;
    let token = tenant.full_token("ann").await;
    let page = tenant.poll(&token, &format!("channel=a&since={epoch}:1")).await.expect(reqwest::StatusCode::OK);
    assert_eq!(serials(page["messages"].as_array().expect("messages")), [2, 3]);
    assert_eq!((&page["positions"][0]["epoch"], &page["positions"][0]["resumed"]), (&json!(epoch), &json!(true)));
    // One that is new is told at once where it stands, whatever the others wait for.
    let page =
        tenant.poll(&token, &format!("channel=a&since={epoch}:3&channel=b")).await.expect(reqwest::StatusCode::OK);
    assert_eq!(page["messages"], json!([]));
    assert_eq!(page["positions"][1]["channel"], "b");
    let page = tenant.poll(&token, "channel=a&rewind=1").await.expect(reqwest::StatusCode::OK);
    assert_eq!(serials(page["messages"].as_array().expect("messages")), [3]);
}

#[actix_web::test]
async fn a_void_position_is_told_and_a_wrong_one_refused() {
    let (_server, tenant) = tenants::start().await;
    tenant.publish("a", json!(1)).await;
    let token = tenant.full_token("ann").await;
    let page = tenant.poll(&token, "channel=a&since=void:7&wait_ms=0").await.expect(reqwest::StatusCode::OK);
    assert_eq!(page["positions"][0]["lost"], json!({"from": 8}), "{page}");
    assert_eq!(page["messages"], json!([{"op": "gap", "channel": "a", "from": 8}]));
    for wrong in ["channel=a&since=7", "since=e:7&channel=a", "channel=a&since=e:7&rewind=1", "channel=a&rewind=x"] {
        tenant.poll(&token, wrong).await.expect_problem(422, "invalid_body");
    }
}
