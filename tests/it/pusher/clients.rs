//! Stock clients, as they are: in Node and in a browser, against one node and against two gateways.

use serde_json::{Value, json};

use crate::harness::{
    browser::Page,
    nodes::{Fleet, Production},
    pusher_sockets::{start, switch},
    stock,
    tenants::Tenant,
};

/// As many checks as `checks.mjs` has.
const CHECKS: usize = 12;

fn all_hold(said: &[String]) {
    assert_eq!(said.iter().filter(|line| line.starts_with("holds: ")).count(), CHECKS, "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some(format!("{CHECKS} checks hold").as_str()));
}

/// Opens the page with the stock clients and waits until its checks are over.
async fn in_a_browser(tenant: &Tenant, switched: &Value, nodes: &[&str]) {
    let mut program = stock::start("page.mjs", tenant, switched, nodes, &[]);
    let url = program.line().await.expect("it says where it is");
    let mut page = Page::open(&url).await;
    page.wait_for("window.ended !== undefined").await;
    let said: Vec<String> = serde_json::from_value(page.evaluate("window.said").await).expect("a list of lines");
    assert_eq!(page.evaluate("window.ended").await, "all hold", "{said:?}");
    all_hold(&said);
    program.succeeded().await;
}

#[actix_web::test]
async fn stock_clients_find_everything_in_node_and_in_a_browser() {
    let (server, tenant) = start().await;
    let switched = switch(&tenant, json!({})).await;
    all_hold(&stock::start("clients.mjs", &tenant, &switched, &[server.url()], &[]).succeeded().await);
    in_a_browser(&tenant, &switched, &[server.url()]).await;
}

#[actix_web::test]
async fn stock_clients_find_everything_across_two_gateways() {
    let fleet = Fleet::start(Production::start(4).await, |options| options).await;
    let tenant = fleet.tenant().await;
    let switched = switch(&tenant, json!({"pusher": true})).await;
    let nodes = [fleet.gateways[0].url(), fleet.gateways[1].url()];
    all_hold(&stock::start("clients.mjs", &tenant, &switched, &nodes, &[]).succeeded().await);
    in_a_browser(&tenant, &switched, &nodes).await;
}
