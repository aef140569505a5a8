//! From the queue to the log to the bus. A crash between any two steps repeats work and never repeats a serial.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_domain::{
    StoreError,
    bus::{Ahead, Broadcast, Bus},
    history::{Appended, MessageLog},
    messages::{Envelope, Message},
    metrics::Metric,
    partitions::Fence,
    publishing::{Accepted, Batch, Queue},
    traces::TraceParent,
};
use tracing::{error, warn};

use crate::{health::Pulse, spans::Spans};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why messages are set aside, in the words of the metric and of `fanfare dead-letters replay --reason`.
const REJECTED: &str = "rejected";
const CONFLICT: &str = "conflict";

/// Why nothing more is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The queue was closed and is empty, or it went away.
    Closed,
    /// The partition has another owner.
    Fenced,
    /// The log cannot be written now.
    LogAway,
    /// The bus knows more of a channel than the log: an older state of the log was restored.
    Ahead(Box<Ahead>),
}

/// Delivers batch after batch. Without a fence the queue is the process's own: a batch that cannot be appended was never accepted, and
/// the next one is tried. With a fence, what is not stored goes back to the queue.
pub async fn deliver(
    queue: Arc<dyn Queue>,
    fence: Option<Fence>,
    log: Arc<dyn MessageLog>,
    bus: Arc<dyn Bus>,
) -> Ended {
    deliver_on(queue, fence, log, bus, &Pulse::default()).await
}

/// The same, with what is in hand noted.
pub(crate) async fn deliver_on(
    queue: Arc<dyn Queue>,
    fence: Option<Fence>,
    log: Arc<dyn MessageLog>,
    bus: Arc<dyn Bus>,
    pulse: &Pulse,
) -> Ended {
    loop {
        pulse.set_busy(false);
        let Some(mut batch) = queue.next().await else { return Ended::Closed };
        pulse.set_busy(true);
        let redelivered = batch.messages().iter().filter(|accepted| accepted.redelivered).count();
        Metric::Redeliveries.add(redelivered as u64);
        let begun = Instant::now();
        let spans = Spans::begin(batch.messages());
        let appending = spans.append();
        let appended = append(batch.as_mut(), fence, log.as_ref()).await;
        drop(appending);
        match appended {
            Ok(outcomes) => {
                Metric::AppendSeconds.observe(begun.elapsed());
                batch.answer(&outcomes);
                if bury_conflicts(batch.as_mut(), &outcomes).await.is_err() {
                    return Ended::Closed;
                }
                let ahead = send(bus.as_ref(), batch.messages(), &outcomes, &spans).await;
                if fence.is_some()
                    && let Some(ahead) = truly_ahead(log.as_ref(), ahead).await
                {
                    return Ended::Ahead(Box::new(ahead));
                }
                batch.ack().await;
            }
            Err(failure) => {
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                error!(error = %failure, cause, messages = batch.messages().len(), "A batch could not be appended");
                spans.fail();
                batch.fail();
                match (fence, failure) {
                    (None, _) => {}
                    (Some(_), StoreError::Fenced) => {
                        Metric::Fenced.add(1);
                        return Ended::Fenced;
                    }
                    (Some(_), _) => return Ended::LogAway,
                }
            }
        }
    }
}

/// Appends a batch as one; if something in it can never be stored, message by message, with that one set aside.
async fn append(
    batch: &mut dyn Batch,
    fence: Option<Fence>,
    log: &dyn MessageLog,
) -> Result<Vec<Appended>, StoreError> {
    match log.append(fence, batch.messages()).await {
        Err(failure) if is_permanent(&failure) => warn!(error = %failure, "A batch is tried message by message"),
        outcome => return outcome,
    }
    let mut outcomes = Vec::with_capacity(batch.messages().len());
    for at in 0..batch.messages().len() {
        match log.append(fence, &batch.messages()[at..=at]).await {
            Ok(alone) => outcomes.extend(alone),
            Err(failure) if is_permanent(&failure) => {
                let why = failure.to_string();
                let accepted = &batch.messages()[at];
                let trace = accepted.trace.as_ref().map(TraceParent::trace_id);
                error!(message.id = %accepted.message.id, trace.id = trace, reason = why, "A message can never be stored; it is set aside");
                batch.bury(at, REJECTED, &why).await.map_err(StoreError::unavailable)?;
                Metric::DeadLetters.add_labelled(REJECTED, 1);
                outcomes.push(Appended::Rejected);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(outcomes)
}

fn is_permanent(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Rejected(_) | StoreError::Corrupt(_) | StoreError::Conflict)
}

/// Sets aside what another message under the same key stood in the way of, where nobody waits to be told so.
async fn bury_conflicts(batch: &mut dyn Batch, outcomes: &[Appended]) -> Result<(), ()> {
    for (at, outcome) in outcomes.iter().enumerate() {
        if *outcome == Appended::Conflict && !batch.is_awaited(at) {
            let buried = batch.bury(at, CONFLICT, "another message has the same idempotency key").await;
            buried.map_err(|failure| warn!(error = %failure, "A message could not be set aside"))?;
            Metric::DeadLetters.add_labelled(CONFLICT, 1);
        }
    }
    Ok(())
}

/// Puts what is stored on the bus, in order, and tries until it is there: a later message must not overtake it.
async fn send(bus: &dyn Bus, messages: &[Accepted], outcomes: &[Appended], spans: &Spans) -> Vec<Ahead> {
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, Appended::Stored { .. })).count();
    Metric::AppendMessages.add(stored as u64);
    let all = messages.iter().zip(outcomes).enumerate();
    let broadcasts: Vec<_> = all
        .filter_map(|(at, (accepted, outcome))| broadcast(accepted, outcome, || spans.trace(at, accepted)))
        .collect();
    if broadcasts.is_empty() {
        return Vec::new();
    }
    let _sending = spans.send();
    let mut pause = FIRST_PAUSE;
    loop {
        match bus.send(broadcasts.clone()).await {
            Ok(ahead) => return ahead,
            Err(failure) => error!(error = %failure, "The bus did not take a batch; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What is sent of a message that is stored: also of one that was stored before it was handed out again, since it may never have been sent.
fn broadcast(
    accepted: &Accepted,
    outcome: &Appended,
    trace: impl FnOnce() -> Option<TraceParent>,
) -> Option<Broadcast> {
    let (epoch, serial, time) = match outcome {
        Appended::Stored { epoch, serial, time } => (epoch, serial, time),
        Appended::Repeated { epoch, serial, time } if accepted.redelivered => (epoch, serial, time),
        _ => return None,
    };
    let envelope = Envelope {
        app: accepted.app.clone(),
        channel: accepted.channel.clone(),
        place: Some((epoch.clone(), *serial)),
        exclude: accepted.exclude.clone(),
        trace: trace(),
        message: Message { time: *time, ..accepted.message.clone() },
    };
    Some(Broadcast::Message(Arc::new(envelope)))
}

/// A head on the bus that the log does not know either. One that it knows was moved there by the partition's next owner.
async fn truly_ahead(log: &dyn MessageLog, ahead: Vec<Ahead>) -> Option<Ahead> {
    if ahead.is_empty() {
        return None;
    }
    let channels: Vec<_> = ahead.iter().map(|ahead| (ahead.app.clone(), ahead.channel.clone())).collect();
    // A log that is away now says so at the next append.
    let heads = log.heads(&channels).await.ok()?;
    let lacks = |(ahead, head): &(Ahead, _)| {
        let head: &Option<fanfare_domain::history::Head> = head;
        head.as_ref().is_some_and(|head| head.epoch == ahead.head.epoch && head.serial < ahead.head.serial)
    };
    ahead.into_iter().zip(heads).find(lacks).map(|(ahead, _)| ahead)
}
