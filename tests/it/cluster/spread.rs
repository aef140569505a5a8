//! Publishers and subscribers spread over the nodes: one order, no hole, nothing twice.

use serde_json::json;

use crate::harness::{
    nodes::{Fleet, Production},
    sockets::Socket,
    tenants::Tenant,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let t = std::time::Instant::now();
    let production = Production::start(4).await;
    eprintln!("engines {:?}", t.elapsed());
    let fleet = Fleet::start(production, |options| options).await;
    eprintln!("nodes {:?}", t.elapsed());
    let tenant = Tenant::sign_up(&fleet.apis[0]).await;
    let token = tenant.full_token("ann").await;
    let mut ann = Socket::connect(fleet.gateways[0].url(), &token).await;
    let mut bob = Socket::connect(fleet.gateways[1].url(), &token).await;
    ann.subscribe("chat").await;
    bob.subscribe("chat").await;
    for n in 0..20 {
        let t = std::time::Instant::now();
        tenant.at(fleet.apis[n % 2].url()).publish("chat", json!(n)).await;
        eprintln!("published {n} {:?}", t.elapsed());
    }
    for socket in [&mut ann, &mut bob] {
        for (n, message) in socket.messages(20).await.iter().enumerate() {
            assert_eq!((&message["serial"], &message["data"]), (&json!(n + 1), &json!(n)));
        }
    }
    eprintln!("all {:?}", t.elapsed());
}
