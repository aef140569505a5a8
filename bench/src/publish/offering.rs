//! Offering: so many connections, each with its next request as soon as the last one is answered, on a thread of their own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use tokio::{runtime, sync::oneshot};

use super::requests::{Offer, Request};
use crate::{clients::Problem, http::Kept};

/// How long what was accepted may take to be stored.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of offering for some time.
pub struct Offered {
    /// How long each request took.
    pub took: Vec<Duration>,
    /// Messages that were accepted, by channel.
    pub accepted: Vec<u64>,
    /// Requests that were refused, in whole or in part.
    pub refused: u64,
    /// From the first request to the last answer.
    pub offering: Duration,
    /// From the first request until all that was accepted is stored.
    pub storing: Duration,
}

/// What one connection has seen.
struct Seen {
    took: Vec<Duration>,
    accepted: Vec<u64>,
    refused: u64,
}

/// Offers for so long, and waits until all that was accepted is in history, where each channel must have as many more messages as were accepted.
pub async fn offer(
    offer: Arc<Offer>,
    connections: usize,
    time: Duration,
    stored: Vec<u64>,
    round: usize,
) -> Result<(Offered, Vec<u64>), Problem> {
    let (sender, done) = oneshot::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let offered = match runtime {
            Ok(runtime) => runtime.block_on(offer_here(&offer, connections, time, stored, round)),
            Err(error) => Err(error.to_string()),
        };
        // Whoever would hear it has given up.
        let _ = sender.send(offered);
    });
    done.await.map_err(|_| "the thread that offers has ended".to_owned())?
}

async fn offer_here(
    offer: &Offer,
    connections: usize,
    time: Duration,
    stored: Vec<u64>,
    round: usize,
) -> Result<(Offered, Vec<u64>), Problem> {
    let mut kept = try_join_all((0..connections).map(|_| Kept::connect(offer.tenant.authority()))).await?;
    let requests = offer.requests();
    let begun = Instant::now();
    let each = kept.iter_mut().enumerate();
    let seen = try_join_all(each.map(|(at, kept)| ask_on(kept, &requests, at, begun + time))).await?;
    let offering = begun.elapsed();
    let mut accepted = vec![0; offer.channels];
    seen.iter()
        .flat_map(|seen| seen.accepted.iter().enumerate())
        .for_each(|(channel, count)| accepted[channel] += count);
    let serials = await_stored(offer, &mut kept, round).await?;
    let storing = begun.elapsed();
    let refused = seen.iter().map(|seen| seen.refused).sum();
    for (channel, (serial, before)) in serials.iter().zip(&stored).enumerate() {
        // The last one is the one that was waited for.
        if *serial != before + accepted[channel] + 1 && refused == 0 {
            let accepted = accepted[channel];
            return Err(format!("channel {channel} went from {before} to {serial}, and {accepted} + 1 were accepted"));
        }
    }
    let took = seen.into_iter().flat_map(|seen| seen.took).collect();
    Ok((Offered { took, accepted, refused, offering, storing }, serials))
}

async fn ask_on(kept: &mut Kept, requests: &[Request], first: usize, until: Instant) -> Result<Seen, Problem> {
    let mut seen = Seen { took: Vec::new(), accepted: vec![0; requests.len()], refused: 0 };
    let mut next = first;
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(seen);
        }
        let request = &requests[next % requests.len()];
        // A step that is prime to most numbers, so that connections do not walk side by side.
        next += 61;
        let answer = kept.ask(&request.bytes).await?;
        match answer.status {
            200 | 202 if !has_error(answer.body) => {
                request.messages.iter().for_each(|(channel, count)| seen.accepted[*channel] += count);
            }
            200 | 429 | 503 => seen.refused += 1,
            status => return Err(format!("a publish was answered {status}")),
        }
        seen.took.push(asked.elapsed());
    }
}

/// Whether a message of a batch was refused.
fn has_error(body: &[u8]) -> bool {
    const ERROR: &[u8] = b"\"error\"";
    // The answers of a batch are many and alike: looked at by their first byte each.
    body.split(|byte| *byte == b'{').any(|result| result.starts_with(ERROR))
}

/// Publishes one more message to each channel, and waits for its place: all before it are stored then.
async fn await_stored(offer: &Offer, kept: &mut [Kept], round: usize) -> Result<Vec<u64>, Problem> {
    let count = kept.len();
    let each = kept.iter_mut().enumerate().map(async |(at, kept)| {
        let mut serials = Vec::new();
        for channel in (at..offer.channels).step_by(count) {
            serials.push((channel, place(kept, &offer.last(channel, round)).await?));
        }
        Ok::<_, Problem>(serials)
    });
    let mut serials = vec![0; offer.channels];
    try_join_all(each).await?.into_iter().flatten().for_each(|(channel, serial)| serials[channel] = serial);
    Ok(serials)
}

async fn place(kept: &mut Kept, request: &[u8]) -> Result<u64, Problem> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = kept.ask(request).await?;
        if answer.status == 201 {
            let told: serde_json::Value = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
            return told["serial"].as_u64().ok_or_else(|| "an answer lacks its serial".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("what was accepted was not stored within {PATIENCE:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_message_of_a_batch_is_seen() {
        assert!(!has_error(br#"{"results":[{"message":"msg_1"},{"message":"msg_2"}]}"#));
        assert!(has_error(br#"{"results":[{"message":"msg_1"},{"error":{"code":"backlog_full"}}]}"#));
    }
}
