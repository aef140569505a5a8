//! From the queue to the log to the bus. A crash between any two steps repeats work and never repeats a serial.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_domain::{
    bus::{Broadcast, Bus},
    history::{Appended, MessageLog},
    messages::{Envelope, Message},
    metrics::Metric,
    publishing::{Accepted, Queue},
};
use tracing::error;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Delivers batch after batch until the queue is closed and empty.
pub async fn deliver(queue: Arc<dyn Queue>, log: Arc<dyn MessageLog>, bus: Arc<dyn Bus>) {
    while let Some(mut batch) = queue.next().await {
        let begun = Instant::now();
        match log.append(batch.messages()).await {
            Ok(outcomes) => {
                Metric::AppendSeconds.observe(begun.elapsed());
                batch.answer(&outcomes);
                send(bus.as_ref(), batch.messages(), &outcomes).await;
                batch.ack().await;
            }
            Err(failure) => {
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                error!(error = %failure, cause, messages = batch.messages().len(), "A batch could not be appended");
                batch.fail();
            }
        }
    }
}

/// Puts what was stored on the bus, in order, and tries until it is there: a later message must not overtake it.
async fn send(bus: &dyn Bus, messages: &[Accepted], outcomes: &[Appended]) {
    let broadcasts: Vec<_> =
        messages.iter().zip(outcomes).filter_map(|(accepted, outcome)| broadcast(accepted, outcome)).collect();
    Metric::AppendMessages.add(broadcasts.len() as u64);
    let mut pause = FIRST_PAUSE;
    while let Err(failure) = bus.send(broadcasts.clone()).await {
        error!(error = %failure, "The bus did not take a batch; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn broadcast(accepted: &Accepted, outcome: &Appended) -> Option<Broadcast> {
    let Appended::Stored { epoch, serial, time } = outcome else { return None };
    let envelope = Envelope {
        app: accepted.app.clone(),
        channel: accepted.channel.clone(),
        place: Some((epoch.clone(), *serial)),
        exclude: accepted.exclude.clone(),
        message: Message { time: *time, ..accepted.message.clone() },
    };
    Some(Broadcast::Message(Arc::new(envelope)))
}
