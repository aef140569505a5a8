//! Appends to Postgres that come at the same time share a transaction: a commit costs much the same for one message as for a thousand, and each partition
//! brings its own.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_domain::{StoreError, history::Appended, partitions::Fence};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{plans::Pending, postgres};
use crate::sql::db::Db;

/// Transactions that are under way while others gather: while one waits for the disk, another one is worked on.
const AT_ONCE: usize = 2;
/// Transactions begin so far apart for each append that another one shared its own with, so that a quiet log keeps nobody waiting and a busy one gathers.
/// By append, not by message: one that is large needs no company. …
const APART_FOR_EACH: Duration = Duration::from_micros(500);
/// … and never further than this.
const FURTHEST_APART: Duration = Duration::from_millis(10);
/// Whoever has waited for so long begins whatever is under way, which may be held up by something that is none of its concern.
const PATIENCE: Duration = Duration::from_millis(50);
/// A transaction ends at about this many messages …
const MESSAGES: usize = 2_000;
/// … and this many bytes.
const BYTES: usize = 4 * 1024 * 1024;

type Answer = Result<Vec<Appended>, StoreError>;

/// Where appends wait for each other.
pub(in crate::sql) struct Gathering {
    waiting: Mutex<Waiting>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    appends: VecDeque<Append>,
    /// The number of the last one that came.
    last: u64,
    /// Before this, none is to begin.
    due: Option<Instant>,
}

/// An append that waits, or is under way.
struct Append {
    /// They are numbered as they come.
    number: u64,
    fence: Option<Fence>,
    pending: Vec<Pending>,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Gathering {
    /// Returns when the commit is on disk that has these messages, perhaps among others. What is wrong with others is none of theirs.
    pub(super) async fn append(&self, db: &Db, fence: Option<Fence>, pending: Vec<Pending>) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        let bytes = pending.iter().map(Pending::bytes).sum();
        let number = self.lock().push(Append { number: 0, fence, pending, bytes, answer });
        while self.lock().has(number) {
            tokio::select! {
                biased;
                answer = &mut answered => return answer.unwrap_or_else(|lost| Err(StoreError::unavailable(lost))),
                turn = timeout(PATIENCE, self.turn()) => self.begin(db, turn.ok().flatten()),
            }
        }
        answered.await.unwrap_or_else(|lost| Err(StoreError::unavailable(lost)))
    }

    /// The turn to begin the next transaction, once it is due.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        let due = self.lock().due;
        if let Some(due) = due {
            sleep_until(due).await;
        }
        Some(turn)
    }

    /// Begins a transaction of what waits. It goes on to its end, whoever stops waiting for it.
    fn begin(&self, db: &Db, turn: Option<OwnedSemaphorePermit>) {
        let appends = self.lock().take();
        if !appends.is_empty() {
            let work = append_all(db.clone(), appends);
            db.runtime().spawn(async move {
                work.await;
                drop(turn);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The number of the append.
    fn push(&mut self, append: Append) -> u64 {
        self.last += 1;
        self.appends.push_back(Append { number: self.last, ..append });
        self.last
    }

    /// Whether an append still waits.
    fn has(&self, number: u64) -> bool {
        self.appends.binary_search_by_key(&number, |append| append.number).is_ok()
    }

    /// The longest waiting ones, at least one of them. Those that nobody waits for any more are let go: whoever gave them up is handed the same messages
    /// again, perhaps under the same fence.
    fn take(&mut self) -> Vec<Append> {
        let (mut messages, mut bytes, mut taken) = (0, 0, Vec::new());
        self.appends.retain(|append| !append.answer.is_closed());
        while let Some(append) = self.appends.pop_front_if(|append| {
            (messages, bytes) = (messages + append.pending.len(), bytes + append.bytes);
            taken.is_empty() || (messages <= MESSAGES && bytes <= BYTES)
        }) {
            taken.push(append);
        }
        if !taken.is_empty() {
            let apart = APART_FOR_EACH * u32::try_from(taken.len() - 1).unwrap_or(u32::MAX).min(1_000);
            self.due = Some(Instant::now() + apart.min(FURTHEST_APART));
        }
        taken
    }
}

async fn append_all(db: Db, appends: Vec<Append>) {
    let (mut whole, mut parts, mut fences) = (Vec::new(), Vec::with_capacity(appends.len()), Vec::new());
    for Append { fence, pending, answer, .. } in appends {
        let begin = whole.len();
        whole.extend(pending);
        parts.push((fence, begin..whole.len(), answer));
        fences.extend(fence.filter(|fence| !fences.contains(fence)));
    }
    let whole: Arc<[Pending]> = whole.into();
    match postgres::append(&db, &fences, whole.clone(), 0..whole.len()).await {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (_, range, answer) in parts {
                tell(answer, Ok(outcomes.by_ref().take(range.len()).collect()));
            }
        }
        Err(failure) if parts.len() > 1 && is_of_one(&failure) => append_each(&db, whole, parts).await,
        Err(failure) => parts.into_iter().for_each(|(.., answer)| tell(answer, Err(failure.repeated()))),
    }
}

/// Appends each part for itself, so that those of which nothing is wrong are stored.
async fn append_each(
    db: &Db,
    whole: Arc<[Pending]>,
    parts: Vec<(Option<Fence>, Range<usize>, oneshot::Sender<Answer>)>,
) {
    for (fence, range, answer) in parts {
        tell(answer, postgres::append(db, fence.as_slice(), whole.clone(), range).await);
    }
}

/// Whether it is most likely one part that the transaction failed for.
fn is_of_one(failure: &StoreError) -> bool {
    !matches!(failure, StoreError::Unavailable(_))
}

fn tell(answer: oneshot::Sender<Answer>, outcome: Answer) {
    // Whoever stopped waiting finds it stored when it comes again.
    let _ = answer.send(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::messages::plans::samples::pending;

    /// An append, and who waits for it.
    fn append(messages: usize, bytes: usize) -> (Append, oneshot::Receiver<Answer>) {
        let pending = (0..messages).map(|_| pending()).collect();
        let (answer, answered) = oneshot::channel();
        (Append { number: 0, fence: None, pending, bytes, answer }, answered)
    }

    #[tokio::test]
    async fn a_transaction_is_bounded_and_takes_what_has_waited_longest() {
        let mut waiting = Waiting::default();
        let sizes = [(MESSAGES + 1, 0), (1, BYTES), (1, 1), (MESSAGES, 0), (1, 0)];
        let (appends, _waiters): (Vec<_>, Vec<_>) =
            sizes.map(|(messages, bytes)| append(messages, bytes)).into_iter().unzip();
        assert_eq!(appends.into_iter().map(|append| waiting.push(append)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let taken: Vec<_> = std::iter::from_fn(|| Some(waiting.take().len()).filter(|count| *count > 0)).collect();
        assert_eq!(taken, [1, 1, 1, 1, 1]);
        let [(one, _one), (two, _two)] = [append(1, 1), append(2, 1)];
        assert_eq!([waiting.push(one), waiting.push(two)], [6, 7]);
        assert!(waiting.has(6) && waiting.has(7));
        assert_eq!(waiting.take().len(), 2);
        assert!(!waiting.has(6) && !waiting.has(7));
    }

    #[tokio::test]
    async fn what_was_given_up_before_it_began_is_let_go() {
        let mut waiting = Waiting::default();
        let [(one, _waiter), (two, _other), (three, given_up)] = [append(MESSAGES, 1), append(1, 1), append(1, 1)];
        for append in [one, two, three] {
            waiting.push(append);
        }
        drop(given_up);
        assert_eq!(waiting.take().len(), 1);
        assert_eq!([1, 2, 3].map(|number| waiting.has(number)), [false, true, false]);
    }
}
