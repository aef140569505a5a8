//! Whoever asked for `persisted` waits here for the workers' answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tracing::warn;

use crate::envelopes::answered;

/// Who waits, by correlation id. Once the reply queue is gone, everybody is told so by being dropped.
#[derive(Default)]
pub(super) struct Answers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    by_correlation: HashMap<String, oneshot::Sender<answered::Answers>>,
    begun: u64,
    over: bool,
}

/// One who waits; leaves by being dropped.
pub(super) struct Waiter {
    answers: Arc<Answers>,
    correlation: String,
    answer: oneshot::Receiver<answered::Answers>,
}

impl Answers {
    /// Begins to wait for an answer, under a correlation id of its own.
    pub fn wait(self: &Arc<Self>) -> Waiter {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.begun += 1;
        let correlation = waiting.begun.to_string();
        if !waiting.over {
            waiting.by_correlation.insert(correlation.clone(), sender);
        }
        Waiter { answers: self.clone(), correlation, answer }
    }

    /// Hands an answer to who waits for it; one that comes too late is passed over.
    pub fn hear(&self, correlation: &str, text: &[u8]) {
        let Some(waiter) = self.lock().by_correlation.remove(correlation) else { return };
        match answered::decode(text) {
            // Who has stopped waiting meanwhile needs no answer.
            Ok(answer) => _ = waiter.send(answer),
            Err(error) => {
                warn!(error = %error, "A worker's answer cannot be read; whoever waits is told that it is not known")
            }
        }
    }

    /// No answer comes any more.
    pub fn end(&self) {
        let mut waiting = self.lock();
        waiting.over = true;
        waiting.by_correlation.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// What an answer is known by.
    pub fn correlation(&self) -> String {
        self.correlation.clone()
    }

    /// The answer; `None` if none can come.
    pub async fn answer(&mut self) -> Option<answered::Answers> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.answers.lock().by_correlation.remove(&self.correlation);
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::publishing::IntakeError;

    use super::*;

    #[tokio::test]
    async fn everybody_gets_their_own_answer_or_none() {
        let answers = Arc::new(Answers::default());
        let (mut one, mut two, mut three) = (answers.wait(), answers.wait(), answers.wait());
        answers.hear(&two.correlation(), br#"{"v":1,"answers":["conflict"]}"#);
        answers.hear(&one.correlation(), br#"{"v":2}"#);
        answers.hear("somebody else", b"");
        assert_eq!(two.answer().await, Some(vec![Err(IntakeError::Conflict)]));
        assert_eq!(one.answer().await, None, "it cannot be read");
        answers.end();
        assert_eq!(three.answer().await, None);
        assert_eq!(answers.wait().answer().await, None, "it is over");
    }
}
