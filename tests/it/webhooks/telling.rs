//! What is told of what happens.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{of_channel, presence, start_private, unsubscribe};
use crate::harness::{tenants::Tenant, webhooks::Receiver};

#[tokio::test]
async fn a_channel_is_told_occupied_once_and_vacated_after_the_hold_signed_each_in_a_request_of_its_own() {
    let (_server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/hook?a=b"), &["channel_occupied", "channel_vacated"]).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, tenant.join("bob").await);
    ann.subscribe("chat:1").await;
    bob.subscribe("chat:1").await;
    receiver.events("/hook?a=b", 1).await;
    unsubscribe(&mut ann, "chat:1").await;
    bob.drop_connection();
    let told = receiver.events("/hook?a=b", 2).await;
    assert_eq!(told, [of_channel("channel_occupied", "chat:1"), of_channel("channel_vacated", "chat:1")]);
    let received = receiver.received();
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    for request in received {
        request.verify(&tenant);
    }
}

#[tokio::test]
async fn members_of_presence_channels_are_told_and_no_others() {
    let (_server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &["member_added", "member_removed"]).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, tenant.join("bob").await);
    presence(&mut ann, "chat", "enter").await;
    presence(&mut ann, "presence-room", "enter").await;
    receiver.events("/", 1).await;
    presence(&mut bob, "presence-room", "enter").await;
    receiver.events("/", 2).await;
    presence(&mut ann, "presence-room", "leave").await;
    let member = |name: &str, user: &str| json!({"name": name, "channel": "presence-room", "user_id": user});
    let told = receiver.events("/", 3).await;
    assert_eq!(told, [member("member_added", "ann"), member("member_added", "bob"), member("member_removed", "ann")]);
    // A connection that breaks: nobody notes that its client is gone once its grace is over.
    bob.drop_connection();
    assert_eq!(receiver.events("/", 4).await[3], member("member_removed", "bob"));
}

#[tokio::test]
async fn who_is_back_within_the_hold_was_never_gone() {
    let (_server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    let all = ["channel_occupied", "channel_vacated", "member_added", "member_removed"];
    tenant.webhook(&receiver.url("/"), &all).await;
    let mut ann = tenant.join("ann").await;
    ann.subscribe("presence-a").await;
    presence(&mut ann, "presence-a", "enter").await;
    receiver.events("/", 2).await;
    ann.subscribe("marker").await;
    receiver.events("/", 3).await;
    unsubscribe(&mut ann, "presence-a").await;
    presence(&mut ann, "presence-a", "leave").await;
    // Gone before the marker, and back a good second later: what is told of the marker comes after all that was to come of it.
    let mut bob = tenant.join("bob").await;
    for n in 0..3 {
        bob.subscribe(&format!("step-{n}")).await;
        receiver.events("/", 4 + n).await;
    }
    unsubscribe(&mut ann, "marker").await;
    ann.subscribe("presence-a").await;
    presence(&mut ann, "presence-a", "enter").await;
    let told = receiver.events("/", 7).await;
    assert_eq!(told[6], of_channel("channel_vacated", "marker"), "{told:?}");
    assert_eq!(told.len(), 7, "{told:?}");
}

#[tokio::test]
async fn the_number_of_subscribers_is_told_at_every_change_but_not_of_presence_channels() {
    let (_server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &["subscription_count"]).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, tenant.join("bob").await);
    ann.subscribe("presence-a").await;
    ann.subscribe("a").await;
    receiver.events("/", 1).await;
    bob.subscribe("a").await;
    receiver.events("/", 2).await;
    unsubscribe(&mut bob, "a").await;
    let count = |count: u64| json!({"name": "subscription_count", "channel": "a", "subscription_count": count});
    assert_eq!(receiver.events("/", 3).await, [count(1), count(2), count(1)]);
}

#[tokio::test]
async fn an_app_is_told_of_its_own_channels_and_a_webhook_of_what_it_asked_for_while_it_is_enabled() {
    let (_server, tenant) = start_private().await;
    let other = Tenant::sign_up_at(&tenant.url, reqwest::Client::new()).await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/own"), &["channel_occupied", "channel_vacated"]).await;
    tenant.webhook(&receiver.url("/members"), &["member_added"]).await;
    let off = tenant.webhook(&receiver.url("/off"), &["channel_occupied"]).await;
    let path = format!("/v1/apps/{}/webhooks/{off}", tenant.app);
    tenant.control(Method::PATCH, &path, json!({"enabled": false})).await;
    other.webhook(&receiver.url("/other"), &["channel_occupied", "channel_vacated"]).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, other.join("bob").await);
    ann.subscribe("a").await;
    bob.subscribe("b").await;
    assert_eq!(receiver.events("/own", 1).await, [of_channel("channel_occupied", "a")]);
    assert_eq!(receiver.events("/other", 1).await, [of_channel("channel_occupied", "b")]);
    assert_eq!(receiver.received().len(), 2);
    for request in receiver.received() {
        request.verify(if request.path == "/own" { &tenant } else { &other });
    }
    // A disabled app is told nothing, though all its channels are vacated.
    other.control(Method::PATCH, &format!("/v1/apps/{}", other.app), json!({"enabled": false})).await;
    bob.closed().await;
    unsubscribe(&mut ann, "a").await;
    assert_eq!(receiver.events("/own", 2).await[1], of_channel("channel_vacated", "a"));
    assert_eq!(receiver.received().len(), 3);
    tenant.control(Method::DELETE, &path, Value::Null).await;
}
