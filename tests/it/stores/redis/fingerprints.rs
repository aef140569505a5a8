//! Fingerprints: another message under a key that was lately used is refused at once, and doubts go on to the queue.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use fanfare_domain::{
    apps::App,
    ids::TenantId,
    publishing::{Accepted, Intake, IntakeError, Receipt},
};
use fanfare_infra::{
    names::Names,
    redis::{Fingerprints, Redis},
};
use fanfare_protocol::requests::Ack;

use crate::{
    harness::{redis, stalls::Stalls},
    stores::samples::{NOW, keyed, message},
};

/// A queue that answers as it is told, and remembers what it was given.
#[derive(Default)]
struct Queue {
    refusal: Mutex<Option<IntakeError>>,
    given: Mutex<Vec<String>>,
}

#[async_trait]
impl Intake for Queue {
    async fn submit(&self, messages: Vec<Accepted>, _: Ack) -> Vec<Result<Receipt, IntakeError>> {
        let answer = |accepted: Accepted| {
            self.given.lock().unwrap().push(accepted.message.data.get().to_owned());
            match &*self.refusal.lock().unwrap() {
                Some(refusal) => Err(refusal.clone()),
                None => Ok(Receipt { id: accepted.message.id, place: None }),
            }
        };
        messages.into_iter().map(answer).collect()
    }

    async fn probe(&self) -> Result<(), IntakeError> {
        Ok(())
    }
}

fn app() -> App {
    App::new(TenantId::generate(), "prod".to_owned(), NOW)
}

fn intake(url: &str) -> (Arc<Queue>, Arc<dyn Intake>) {
    let queue = Arc::new(Queue::default());
    (queue.clone(), Fingerprints::new(queue, Redis::connect(url, Names::default()).unwrap()))
}

/// Whether each message was accepted, or how it was refused.
async fn submit(intake: &Arc<dyn Intake>, messages: Vec<Accepted>) -> Vec<Result<(), IntakeError>> {
    let ids: Vec<_> = messages.iter().map(|accepted| accepted.message.id.clone()).collect();
    let answers = intake.submit(messages, Ack::Accepted).await;
    assert_eq!(answers.len(), ids.len());
    let checked = answers.into_iter().zip(ids).map(|(answer, id)| answer.map(|receipt| assert_eq!(receipt.id, id)));
    checked.collect()
}

#[tokio::test]
async fn another_message_under_a_key_is_a_conflict_and_never_reaches_the_queue() {
    let (server, app, other) = (redis::server().await, app(), app());
    let (queue, intake) = intake(&server.url());
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 10)]).await, [Ok(())]);
    let batch = vec![
        keyed(&app, "chat", 1, 11),
        message(&app, "chat", "12"),
        keyed(&app, "chat", 1, 10),
        keyed(&app, "chat", 2, 13),
        keyed(&app, "chat", 2, 14),
        keyed(&other, "chat", 1, 15),
    ];
    let conflict = Err(IntakeError::Conflict);
    assert_eq!(submit(&intake, batch).await, [conflict.clone(), Ok(()), Ok(()), Ok(()), conflict, Ok(())]);
    assert_eq!(*queue.given.lock().unwrap(), ["10", "12", "10", "13", "15"]);
}

#[tokio::test]
async fn a_message_that_was_not_accepted_leaves_its_key_free() {
    let (server, app) = (redis::server().await, app());
    let (queue, intake) = intake(&server.url());
    *queue.refusal.lock().unwrap() = Some(IntakeError::Full);
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 10)]).await, [Err(IntakeError::Full)]);
    *queue.refusal.lock().unwrap() = Some(IntakeError::Unconfirmed);
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 11)]).await, [Err(IntakeError::Unconfirmed)]);
    *queue.refusal.lock().unwrap() = None;
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 12)]).await, [Err(IntakeError::Conflict)]);
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 11)]).await, [Ok(())]);
}

#[tokio::test]
async fn a_message_that_the_log_refuses_as_a_conflict_leaves_the_key_to_the_one_that_it_knows() {
    let (server, app) = (redis::server().await, app());
    let (queue, intake) = intake(&server.url());
    *queue.refusal.lock().unwrap() = Some(IntakeError::Conflict);
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 10)]).await, [Err(IntakeError::Conflict)]);
    *queue.refusal.lock().unwrap() = None;
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 11)]).await, [Ok(())]);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_delays_little_and_refuses_nothing() {
    let (mut server, app) = (redis::server().await, app());
    let (_, intake) = intake(&server.url());
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 10)]).await, [Ok(())]);
    server.engine().stop();
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    assert_eq!(submit(&intake, vec![keyed(&app, "chat", 1, 11)]).await, [Ok(())]);
    stalls.hold("accepting", begun.elapsed(), Duration::from_secs(2));
    server.engine().cont();
}
