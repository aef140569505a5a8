//! Intake that knows what was lately published under an idempotency key, and refuses another message under it at once.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_domain::publishing::{Accepted, Intake, IntakeError, Receipt};
use fanfare_protocol::requests::Ack;
use redis::{Cmd, Value};

use super::{Redis, text, within};
use crate::names::Names;

/// For how long a fingerprint is known. The log knows for longer, and decides for good.
const KEPT_S: u64 = 3_600;
/// What Redis does not answer within this is left to the log.
const PATIENCE: Duration = Duration::from_millis(200);

/// Answers [`IntakeError::Conflict`] where Redis knows another message under the same key; all else goes on to the queue.
pub struct Fingerprints {
    intake: Arc<dyn Intake>,
    redis: Redis,
}

/// What Redis knows of a message's key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing, or nothing that it could tell in time.
    Nothing,
    /// Nothing before; this message's fingerprint was set.
    New,
    Same,
    Other,
}

impl Fingerprints {
    /// Puts the fingerprints before an intake.
    #[expect(clippy::new_ret_no_self, reason = "it is only ever used as the intake that it decorates")]
    pub fn new(intake: Arc<dyn Intake>, redis: Redis) -> Arc<dyn Intake> {
        Arc::new(Self { intake, redis })
    }

    /// What is known of each message; one round trip for all that have keys.
    async fn compare(&self, messages: &[Accepted]) -> Vec<Known> {
        let mut known = vec![Known::Nothing; messages.len()];
        let keyed: Vec<_> = (0..messages.len()).filter(|at| messages[*at].keyed).collect();
        if keyed.is_empty() {
            return known;
        }
        let names = self.redis.names();
        let asked = self.redis.run(keyed.iter().map(|at| set(names, &messages[*at])).collect());
        for (at, answer) in keyed.into_iter().zip(within(PATIENCE, asked).await.unwrap_or_default()) {
            known[at] = match (&answer, text(&answer)) {
                (Value::Nil, _) => Known::New,
                (_, Some(found)) if found == hex::encode(messages[at].fingerprint) => Known::Same,
                (_, Some(_)) => Known::Other,
                (_, None) => Known::Nothing,
            };
        }
        known
    }

    /// Forgets the fingerprints of messages that were not accepted, so that another one may take their keys.
    async fn forget(&self, refused: Vec<(String, Cmd)>) {
        if !refused.is_empty() {
            // What cannot be forgotten now is forgotten within the hour.
            let _ = within(PATIENCE, self.redis.run(refused)).await;
        }
    }
}

/// Sets a message's fingerprint if its key has none, and gives the one that was there.
fn set(names: &Names, message: &Accepted) -> (String, Cmd) {
    let key = names.fingerprint(&message.app, &message.message.id);
    let mut command = redis::cmd("SET");
    command.arg(&key).arg(hex::encode(message.fingerprint)).arg("NX").arg("GET").arg("EX").arg(KEPT_S);
    (key, command)
}

fn delete(names: &Names, message: &Accepted) -> (String, Cmd) {
    let key = names.fingerprint(&message.app, &message.message.id);
    let mut command = redis::cmd("DEL");
    command.arg(&key);
    (key, command)
}

#[async_trait]
impl Intake for Fingerprints {
    async fn submit(&self, messages: Vec<Accepted>, ack: Ack) -> Vec<Result<Receipt, IntakeError>> {
        if messages.iter().all(|message| !message.keyed) {
            return self.intake.submit(messages, ack).await;
        }
        let known = self.compare(&messages).await;
        let names = self.redis.names();
        let deletes: Vec<_> =
            messages.iter().zip(&known).map(|(m, known)| (*known == Known::New).then(|| delete(names, m))).collect();
        let (mut admitted, mut deletes_admitted) = (Vec::new(), Vec::new());
        for ((message, known), delete) in messages.into_iter().zip(&known).zip(deletes) {
            if *known != Known::Other {
                admitted.push(message);
                deletes_admitted.push(delete);
            }
        }
        let answered = if admitted.is_empty() { Vec::new() } else { self.intake.submit(admitted, ack).await };
        let refused = answered.iter().zip(deletes_admitted).filter(|(answer, _)| was_refused(answer));
        self.forget(refused.filter_map(|(_, delete)| delete).collect()).await;
        let mut answered = answered.into_iter();
        let answer = |known| match known {
            Known::Other => Err(IntakeError::Conflict),
            _ => answered.next().unwrap_or(Err(IntakeError::Unconfirmed)),
        };
        known.into_iter().map(answer).collect()
    }

    async fn probe(&self) -> Result<(), IntakeError> {
        self.intake.probe().await
    }
}

/// Whether a message is known not to be accepted.
fn was_refused(answer: &Result<Receipt, IntakeError>) -> bool {
    use IntakeError::{Conflict, Full, NoApp, Rejected, Unavailable};
    matches!(answer, Err(Full | Unavailable | Conflict | NoApp | Rejected))
}
