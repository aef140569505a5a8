//! Ephemeral messages cross the gateways: whom they are not for does not get them, and everybody else does, wherever they are.

use reqwest::StatusCode;

use super::*;

#[tokio::test]
async fn an_ephemeral_message_reaches_all_at_every_gateway_but_its_publisher_without_echo_and_whom_a_backend_excludes()
{
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut sockets = Vec::new();
    for (gateway, client) in [(0, "ann"), (0, "bob"), (1, "cem"), (1, "dan")] {
        let mut socket = fleet.join(&tenant, gateway, client).await;
        socket.subscribe("chat").await;
        sockets.push(socket);
    }
    // What is kept comes to all, behind what is not.
    let then_all_get = async |sockets: &mut Vec<Socket>, but: usize, data: Value, last: Value| {
        let serial = tenant.publish("chat", last.clone()).await;
        for (at, socket) in sockets.iter_mut().enumerate() {
            if at != but {
                let message = socket.event_of("message").await;
                assert_eq!((&message["data"], message.get("serial")), (&data, None), "socket {at}");
            }
            let message = socket.event_of("message").await;
            assert_eq!((&message["data"], &message["serial"]), (&last, &json!(serial)), "socket {at}");
        }
    };
    let own = json!({"op": "publish", "channel": "chat", "data": "not mine", "ephemeral": true, "echo": false});
    sockets[0].ask(own).await;
    then_all_get(&mut sockets, 0, json!("not mine"), json!(1)).await;
    for (excluded, api) in [(3, 0), (0, 1)] {
        let connection = sockets[excluded].connected["connection"].clone();
        let body = json!({"data": "from a backend", "ephemeral": true, "exclude": connection});
        let at = tenant.at(fleet.apis[api].url());
        at.data(Method::POST, "/v1/channels/chat/messages", body).await.expect(StatusCode::ACCEPTED);
        then_all_get(&mut sockets, excluded, json!("from a backend"), json!(excluded)).await;
    }
    let kept: Vec<_> = tenant.history("chat").await.into_iter().map(|item| item["data"].clone()).collect();
    assert_eq!(kept, [json!(1), json!(3), json!(0)]);
}
