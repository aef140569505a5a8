//! A gateway goes: its clients go to another one and miss nothing.

use super::*;
use crate::harness::sockets::Received;

#[tokio::test]
async fn clients_of_a_gateway_that_is_killed_resume_at_another() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let epoch = socket.subscribe("chat").await["epoch"].as_str().expect("an epoch").to_owned();
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    receive_numbers(&mut socket, 1..=3).await;
    fleet.gateways[0].kill9().await;
    assert_eq!(socket.receive().await, Received::Lost);
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    let mut socket = fleet.join(&tenant, 1, "ann").await;
    assert_eq!(socket.resume("chat", &epoch, 3).await["resumed"], true);
    publish_numbers(&fleet, &tenant, "chat", 7..=9).await;
    receive_numbers(&mut socket, 4..=9).await;
}

#[tokio::test]
async fn clients_of_a_gateway_that_ends_are_told_to_come_again_and_resume_at_another() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut sockets = Vec::new();
    let mut epoch = String::new();
    for n in 0..5 {
        let mut socket = fleet.join(&tenant, 0, &format!("client-{n}")).await;
        epoch = socket.subscribe("chat").await["epoch"].as_str().expect("an epoch").to_owned();
        sockets.push(socket);
    }
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    for socket in &mut sockets {
        receive_numbers(socket, 1..=3).await;
    }
    let told = async {
        for socket in &mut sockets {
            let (events, end) = socket.closed().await;
            assert!(events.iter().any(|event| event["op"] == "reconnect"), "{events:?}");
            assert!(matches!(end, Received::Close(4200..4300, _)), "{end:?}");
        }
    };
    let (status, ()) = tokio::join!(fleet.gateways[0].terminate(), told);
    assert!(status.success(), "{status}");
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    let mut socket = fleet.join(&tenant, 1, "client-0").await;
    assert_eq!(socket.resume("chat", &epoch, 3).await["resumed"], true);
    receive_numbers(&mut socket, 4..=6).await;
}
