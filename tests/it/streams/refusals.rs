//! What is refused before a stream begins: the status, the code, and the field or channel that is meant.

use reqwest::Method;
use serde_json::json;

use crate::harness::tenants::{Answer, start};

#[tokio::test]
async fn a_refusal_comes_as_a_problem_with_its_status_before_the_stream() {
    let (server, tenant) = start().await;
    let token = tenant.token("ann", json!({"chat:*": ["subscribe"]})).await;
    for path in ["/v1/sse", "/v1/poll"] {
        let ask = |query: &str, token: &str| {
            Answer::of(tenant.request(Method::GET, &format!("{path}?{query}")).bearer_auth(token))
        };
        let nobody = Answer::of(tenant.request(Method::GET, &format!("{path}?channel=chat:1"))).await;
        assert!(nobody.headers.contains_key("www-authenticate"));
        nobody.expect_problem(401, "unauthorized");
        ask("channel=chat:1", "no.to.ken").await.expect_problem(401, "bad_token");
        let forbidden = ask("channel=chat:1&channel=secret:1", &token).await.expect_problem(403, "forbidden");
        assert!(forbidden["detail"].as_str().expect("a text").contains("`secret:1`"), "{forbidden}");
        let none = ask("", &token).await.expect_problem(422, "invalid_body");
        assert_eq!(none["errors"][0]["pointer"], "/channel");
        let many: String = (0..101).map(|n| format!("channel=chat:{n}&")).collect();
        ask(&many, &token).await.expect_problem(422, "invalid_body");
        ask("channel=chat%20room", &token).await.expect_problem(422, "bad_channel");
        ask("channel=%23all", &token).await.expect_problem(422, "bad_channel");
        ask("channel=chat:1&cursor=AAAA", &token).await.expect_problem(422, "bad_cursor");
        let posted = tenant.request(Method::POST, &format!("{path}?channel=chat:1")).bearer_auth(&token);
        Answer::of(posted).await.expect_problem(405, "method_not_allowed");
        let by_query = tenant.request(Method::GET, &format!("/v1/poll?channel=chat:1&token={token}"));
        assert_eq!(Answer::of(by_query).await.status, 200);
        let by_key = tenant.request(Method::GET, &format!("{path}?channel=chat:1&key={}", tenant.key));
        Answer::of(by_key).await.expect_problem(403, "forbidden");
    }
    tenant.poll(&token, "channel=chat:1&wait_ms=60001").await.expect_problem(422, "invalid_body");
    assert!(!server.stderr().contains(&token), "a token is in the log");
}

#[tokio::test]
async fn a_hundred_channels_fit_into_one_stream() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let channels: String = (0..100).map(|n| format!("channel=chat:{n}&")).collect();
    let (_, cursor) = tenant.polled(&token, &channels).await;
    tenant.publish("chat:77", json!(1)).await;
    let (messages, cursor) = tenant.polled(&token, &format!("{channels}cursor={cursor}")).await;
    assert_eq!((messages.len(), &messages[0]["channel"]), (1, &json!("chat:77")));
    let mut stream = tenant.stream(&token, &channels, Some(&cursor)).await;
    stream.next_of("open").await;
    tenant.publish("chat:99", json!(1)).await;
    assert_eq!(stream.next_of("message").await.data["channel"], "chat:99");
}
