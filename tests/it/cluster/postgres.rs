//! Postgres is away: publishes are accepted, delivery waits, history and the control plane say so.

use std::time::Duration;

use reqwest::StatusCode;

use super::*;
use crate::harness::tenants::PASSWORD;

#[tokio::test]
async fn without_postgres_publishes_are_accepted_and_wait_and_history_and_signing_in_are_unavailable() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    socket.subscribe("chat").await;
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    receive_numbers(&mut socket, 1..=3).await;
    cut(&fleet, |links| &links.postgres);
    publish_numbers(&fleet, &tenant, "chat", 4..=9).await;
    let history = tenant.data(Method::GET, "/v1/channels/chat/messages", Value::Null).await;
    history.expect_problem(503, "unavailable");
    let login = json!({"email": tenant.email, "password": PASSWORD});
    tenant.control(Method::POST, "/v1/login", login.clone()).await.expect_problem(503, "unavailable");
    for worker in &fleet.workers {
        until_ready(worker, false).await;
    }
    let came = tokio::time::timeout(Duration::from_secs(2), socket.event()).await;
    assert!(came.is_err(), "nothing is delivered: {came:?}");
    restore(&fleet, |links| &links.postgres);
    receive_numbers(&mut socket, 4..=9).await;
    until("signing in works again", async || {
        let answer = tenant.control(Method::POST, "/v1/login", login.clone()).await;
        (answer.status == StatusCode::OK.as_u16()).then_some(())
    })
    .await;
    for worker in &fleet.workers {
        until_ready(worker, true).await;
    }
}
