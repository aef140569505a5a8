//! History: pages both ways, over sockets and HTTP, equal to what was delivered.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::harness::tenants::{Answer, start};

fn serials(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["serial"].as_u64().expect("a serial")).collect()
}

#[tokio::test]
async fn pages_go_both_ways_and_say_whether_there_is_more() {
    let (_server, tenant) = start().await;
    for number in 1..=7 {
        tenant.publish("room", json!(number)).await;
    }
    let mut socket = tenant.join("ann").await;
    let cases: [(&str, u64, u64, &[u64], bool); 11] = [
        ("after", 0, 3, &[1, 2, 3], true),
        ("after", 3, 3, &[4, 5, 6], true),
        ("after", 6, 3, &[7], false),
        ("after", 4, 3, &[5, 6, 7], false),
        ("after", 7, 3, &[], false),
        ("after", 100, 3, &[], false),
        ("before", 8, 3, &[7, 6, 5], true),
        ("before", 4, 3, &[3, 2, 1], false),
        ("before", 1, 3, &[], false),
        ("before", 100, 2, &[7, 6], true),
        ("newest", 0, 2, &[7, 6], true),
    ];
    for (direction, serial, limit, expected, more) in cases {
        let mut request = json!({"op": "history", "channel": "room", "limit": limit});
        let mut path = format!("/v1/channels/room/messages?limit={limit}");
        if direction != "newest" {
            request[direction] = json!(serial);
            path += &format!("&{direction}={serial}");
        }
        let page = socket.ask(request).await;
        assert_eq!((serials(&page), &page["more"]), (expected.to_vec(), &json!(more)), "{direction} {serial} {limit}");
        let over_http = tenant.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
        assert_eq!(page, named(over_http, "room"), "{path}");
    }
    let all = socket.ask(json!({"op": "history", "channel": "room"})).await;
    assert_eq!((serials(&all), &all["more"]), (vec![7, 6, 5, 4, 3, 2, 1], &json!(false)));
    let none = socket.ask(json!({"op": "history", "channel": "never"})).await;
    assert_eq!((serials(&none), &none["more"], &none["epoch"]), (vec![], &json!(false), &all["epoch"]));
}

/// A page as sockets bring it: each item names its channel, which over HTTP stands in the path.
fn named(mut page: Value, channel: &str) -> Value {
    for item in page["items"].as_array_mut().expect("items") {
        item["channel"] = json!(channel);
    }
    page
}

#[tokio::test]
async fn a_page_ends_at_a_mebibyte_and_the_pages_together_are_everything() {
    let (_server, tenant) = start().await;
    let data = "x".repeat(60_000);
    let messages: Vec<_> = (0..30).map(|_| json!({"channel": "big", "data": data})).collect();
    tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    tenant.reaches("big", 30).await;
    let page = tenant.data(Method::GET, "/v1/channels/big/messages?after=0&limit=1000", Value::Null).await;
    assert!(page.text.len() < 1_200_000, "{} bytes", page.text.len());
    let page = page.expect(StatusCode::OK);
    assert_eq!((serials(&page), &page["more"]), ((1..=17).collect(), &json!(true)));
    let all: Vec<_> = tenant.history("big").await.iter().map(|item| item["serial"].as_u64()).collect();
    assert_eq!(all, (1..=30).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn history_is_what_was_delivered() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("room").await;
    let rich = json!({"op": "publish", "channel": "room", "data": {"n": 1}, "name": "said", "headers": {"trace": "7", "": ""}});
    assert_eq!(socket.refused(rich).await, "invalid_body");
    let rich = json!({"op": "publish", "channel": "room", "data": {"n": 1}, "name": "said", "headers": {"trace": "7", "b": ""}});
    socket.ask(rich).await;
    tenant.publish("room", json!(null)).await;
    let on_behalf = json!({"data": [], "client": "zoë", "name": ""});
    tenant.data(Method::POST, "/v1/channels/room/messages", on_behalf).await.expect(StatusCode::ACCEPTED);
    let delivered: Vec<_> = socket.messages(3).await.into_iter().map(into_item).collect();
    assert_eq!(tenant.history("room").await, delivered);
    assert_eq!(delivered[0]["headers"], json!({"trace": "7", "b": ""}));
    assert_eq!(delivered[2]["client"], "zoë");
}

/// A `message` without what history does not say.
fn into_item(mut message: Value) -> Value {
    let fields = message.as_object_mut().expect("an object");
    fields.remove("op");
    fields.remove("channel");
    message
}

/// Each text that may be data, and what becomes of it: nothing but the whitespace between tokens goes.
const TEXTS: [(&str, &str); 14] = [
    ("1.0", "1.0"),
    ("1e400", "1e400"),
    ("-0.0E+007", "-0.0E+007"),
    ("123456789012345678901234567890", "123456789012345678901234567890"),
    ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
    (r#""\u0041\/\ud83d\ude00 😀""#, r#""\u0041\/\ud83d\ude00 😀""#),
    (r#""\ud800 alone""#, r#""\ud800 alone""#),
    (r#""\u0000""#, r#""\u0000""#),
    (r#"{"b":1,"a":2,"10":3,"9":4}"#, r#"{"b":1,"a":2,"10":3,"9":4}"#),
    (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
    (" { \"a b\" :\n[ 1.50 ,\t\"  \\\" \\\\\" , { } ] } ", r#"{"a b":[1.50,"  \" \\",{}]}"#),
    ("null", "null"),
    ("\"\"", "\"\""),
    ("[]", "[]"),
];

#[tokio::test]
async fn data_stays_the_publishers_own_text_everywhere() {
    let (_server, tenant) = start().await;
    let mut publisher = tenant.join("ann").await;
    let mut socket = tenant.join("bob").await;
    socket.subscribe("room").await;
    for (at, (text, _)) in TEXTS.iter().enumerate() {
        if at % 2 == 0 {
            publisher
                .send_text(format!(r#"{{"id":{},"op":"publish","channel":"room","data":{text}}}"#, at + 100))
                .await;
            assert!(publisher.answer_to(at as u32 + 100).await["ok"].is_object(), "{text}");
        } else {
            let path = "/v1/channels/room/messages";
            let request = tenant.request(Method::POST, path).bearer_auth(tenant.credential());
            let request = request.header("content-type", "application/json").body(format!(r#"{{"data":{text}}}"#));
            Answer::of(request).await.expect(StatusCode::ACCEPTED);
        }
    }
    for (_, expected) in TEXTS {
        let frame = socket.receive_text().await;
        let (_, data) = frame.split_once(r#","data":"#).expect("a message has data");
        assert_eq!(data, format!("{expected}}}"));
    }
    let page = tenant.data(Method::GET, "/v1/channels/room/messages?after=0", Value::Null).await;
    check_page(&page.text);
    socket.send_text(r#"{"id":7,"op":"history","channel":"room","after":0}"#).await;
    let answer = socket.receive_text().await;
    let page = answer.strip_prefix(r#"{"id":7,"ok":"#).and_then(|rest| rest.strip_suffix('}'));
    check_page(page.expect("the request is answered"));
}

/// A page whose data is still text.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    data: Box<RawValue>,
}

fn check_page(text: &str) {
    let page: Page = serde_json::from_str(text).expect("a page is JSON");
    let texts: Vec<_> = page.items.iter().map(|item| item.data.get()).collect();
    assert_eq!(texts, TEXTS.map(|(_, expected)| expected));
}
