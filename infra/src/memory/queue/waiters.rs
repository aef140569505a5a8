//! Whoever submitted messages waits for all their answers, which may come with different batches.

use std::sync::{Arc, Mutex, PoisonError};

use fanfare_domain::{
    history::Appended,
    ids::MessageId,
    publishing::{IntakeError, Receipt},
};
use fanfare_protocol::requests::Ack;
use tokio::sync::oneshot;

type Answer = Result<Receipt, IntakeError>;

/// The answers of one submission, in the making.
struct Submission {
    ack: Ack,
    state: Mutex<State>,
}

struct State {
    answers: Vec<Answer>,
    left: usize,
    done: Option<oneshot::Sender<Vec<Answer>>>,
}

/// One message's part in its submission. Dropped without an answer, it answers that the outcome is not known.
pub(super) struct Waiter {
    submission: Arc<Submission>,
    at: usize,
    id: MessageId,
    answer: Answer,
}

/// All answers of a submission.
pub(super) struct Answers {
    done: oneshot::Receiver<Vec<Answer>>,
    count: usize,
}

/// A waiter for each message of a submission, and where their answers arrive.
pub(super) fn waiters(ids: Vec<MessageId>, ack: Ack) -> (Vec<Waiter>, Answers) {
    let (sender, done) = oneshot::channel();
    let count = ids.len();
    let answers = vec![Err(IntakeError::Unconfirmed); count];
    let submission =
        Arc::new(Submission { ack, state: Mutex::new(State { answers, left: count, done: Some(sender) }) });
    let waiters = ids.into_iter().enumerate().map(|(at, id)| Waiter {
        submission: submission.clone(),
        at,
        id,
        answer: Err(IntakeError::Unconfirmed),
    });
    (waiters.collect(), Answers { done, count })
}

impl Answers {
    /// Waits until every message has its answer.
    pub async fn all(self) -> Vec<Answer> {
        if self.count == 0 {
            return Vec::new();
        }
        self.done.await.unwrap_or_else(|_| vec![Err(IntakeError::Unconfirmed); self.count])
    }
}

impl Waiter {
    /// Tells what became of the message.
    pub fn answer(mut self, outcome: &Appended) {
        self.answer = match outcome {
            Appended::Stored { epoch, serial, .. } | Appended::Repeated { epoch, serial, .. } => {
                let place = (self.submission.ack == Ack::Persisted).then(|| (epoch.clone(), *serial));
                Ok(Receipt { id: self.id.clone(), place })
            }
            Appended::Conflict => Err(IntakeError::Conflict),
            Appended::Rejected => Err(IntakeError::Rejected),
            Appended::NoApp => Err(IntakeError::NoApp),
        };
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let answer = std::mem::replace(&mut self.answer, Err(IntakeError::Unconfirmed));
        let mut state = self.submission.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers[self.at] = answer;
        state.left -= 1;
        if state.left == 0
            && let Some(done) = state.done.take()
        {
            // The submitter may have stopped waiting; the messages are stored all the same.
            let _ = done.send(std::mem::take(&mut state.answers));
        }
    }
}
