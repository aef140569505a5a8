//! The queues' declaration.

use fanfare_domain::publishing::Intake;
use fanfare_infra::{
    names::Names,
    rabbitmq::{DeclareError, QUEUE_BYTES, declare, declare_bounded},
};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use serde_json::json;

use super::{bare, connecting};
use crate::harness::{rabbitmq::broker, waiting::until};

#[tokio::test]
async fn declaring_again_is_harmless_and_more_partitions_may_come() {
    let vhost = broker().await;
    for partitions in [2, 2, 4] {
        declare(&vhost.url, &Names::default(), partitions).await.unwrap();
    }
    let (_connection, channel) = bare(&vhost.url).await;
    let names = Names::default();
    for name in
        (0..4).map(|partition| names.queue(partition)).chain([names.dead_letters(), names.notes(), names.webhooks()])
    {
        let passive = QueueDeclareOptions::default().passive();
        channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await.unwrap();
    }
}

#[tokio::test]
async fn every_queue_is_durable_replicated_and_bounded_and_never_judges() {
    let vhost = broker().await;
    declare(&vhost.url, &Names::default(), 3).await.unwrap();
    let queues = vhost.queues().await;
    assert_eq!(queues.len(), 6);
    let names = Names::default();
    let (dead, one_by_one) = (names.dead_letters(), [names.notes(), names.webhooks()]);
    for queue in queues {
        let overflow = if queue["name"] == dead { "drop-head" } else { "reject-publish" };
        let mut arguments = json!({
            "x-queue-type": "quorum",
            "x-delivery-limit": 1_000_000,
            "x-max-length-bytes": QUEUE_BYTES,
            "x-overflow": overflow,
        });
        // Notes are compared, and webhooks told, in order.
        if one_by_one.iter().any(|name| queue["name"] == *name) {
            arguments["x-single-active-consumer"] = true.into();
        }
        assert_eq!((&queue["durable"], &queue["arguments"]), (&json!(true), &arguments), "{queue}");
    }
}

#[tokio::test]
async fn a_queue_with_other_properties_is_named() {
    let vhost = broker().await;
    declare(&vhost.url, &Names::default(), 2).await.unwrap();
    let error = declare_bounded(&vhost.url, &Names::default(), 2, 1_000_000).await.unwrap_err();
    let DeclareError::Differs { queue, reason } = error else { panic!("{error}") };
    assert_eq!(queue, Names::default().queue(0));
    assert!(reason.contains("x-max-length-bytes"), "{reason}");
}

#[tokio::test]
async fn a_broker_that_is_away_or_refuses_is_told_without_the_password() {
    let vhost = broker().await;
    for url in [
        "amqp://ann:secret@127.0.0.1:1/%2f".to_owned(),
        vhost.url.replace("guest:guest", "ann:secret"),
        vhost.url.replace(&vhost.name, "elsewhere"),
    ] {
        let error = declare(&url, &Names::default(), 1).await.unwrap_err();
        assert!(matches!(error, DeclareError::Unavailable(_)));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_accepted_before_all_queues_are_there() {
    let vhost = broker().await;
    declare(&vhost.url, &Names::default(), 3).await.unwrap();
    let rabbit = connecting(&vhost.url);
    assert!(rabbit.probe().await.is_err());
    assert_eq!(rabbit.publishing(), "away");
    declare(&vhost.url, &Names::default(), 4).await.unwrap();
    until("connected", async || (rabbit.publishing() == "connected").then_some(())).await;
    rabbit.probe().await.unwrap();
}
