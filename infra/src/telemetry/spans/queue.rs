//! Spans that have ended wait here for the next batch. The queue is bounded: nobody who makes a span ever waits.

use std::{
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_domain::metrics::Metric;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tracing::{info, warn};

/// Spans that may wait.
const QUEUE: usize = 4_096;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_secs(1);
/// How often a failure is told of at most.
const SILENCE: Duration = Duration::from_secs(60);

/// Takes spans as they end.
#[derive(Debug)]
pub(super) struct Collected {
    spans: mpsc::Sender<SpanData>,
    overflow: Arc<AtomicU64>,
}

/// Sends them.
pub(super) struct Export<E = opentelemetry_otlp::SpanExporter> {
    spans: mpsc::Receiver<SpanData>,
    overflow: Arc<AtomicU64>,
    exporter: E,
    /// Dropped since that was last told.
    dropped: u64,
    told: Option<Instant>,
    /// Whether it was told that the endpoint fails.
    failing: bool,
}

/// A queue, and who empties it.
pub(super) fn new<E: SpanExporter>(exporter: E) -> (Collected, Export<E>) {
    let (send, spans) = mpsc::channel(QUEUE);
    let overflow = Arc::<AtomicU64>::default();
    let collected = Collected { spans: send, overflow: Arc::clone(&overflow) };
    (collected, Export { spans, overflow, exporter, dropped: 0, told: None, failing: false })
}

impl SpanProcessor for Collected {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            Metric::SpansDropped.add_labelled("queue_full", 1);
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What waits is sent at the end of the process, by [`Export::run`].
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl<E: SpanExporter> Export<E> {
    /// Sends batch after batch until `ended`, then what is left.
    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.fill(&mut batch, &mut ended).await {
            self.export(&mut batch).await;
        }
        self.spans.close();
        while !batch.is_empty() || self.spans.recv_many(&mut batch, BATCH).await > 0 {
            self.export(&mut batch).await;
        }
        if self.dropped > 0 {
            self.tell(None);
        }
    }

    /// Waits for a first span, and a little for others; `false` at the end.
    async fn fill(&mut self, batch: &mut Vec<SpanData>, ended: &mut oneshot::Receiver<()>) -> bool {
        tokio::select! {
            _ = &mut *ended => return false,
            taken = self.spans.recv_many(batch, BATCH) => if taken == 0 { return false },
        }
        let mut due = pin!(sleep(LINGER));
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                _ = &mut *ended => return false,
                () = &mut due => break,
                _ = self.spans.recv_many(batch, room) => {}
            }
        }
        true
    }

    async fn export(&mut self, batch: &mut Vec<SpanData>) {
        let count = batch.len() as u64;
        let sent = self.exporter.export(mem::replace(batch, Vec::with_capacity(BATCH))).await;
        self.dropped += self.overflow.swap(0, Ordering::Relaxed);
        match &sent {
            Ok(()) => Metric::SpansExported.add(count),
            Err(_) => {
                Metric::SpansDropped.add_labelled("export_failed", count);
                self.dropped += count;
            }
        }
        if self.dropped > 0 && self.told.is_none_or(|told| told.elapsed() >= SILENCE) {
            self.tell(sent.as_ref().err());
        } else if sent.is_ok() && mem::take(&mut self.failing) {
            info!("Spans are exported again");
        }
    }

    /// Says what was dropped since that was last said.
    fn tell(&mut self, failure: Option<&OTelSdkError>) {
        let error = failure.map(ToString::to_string);
        let dropped = mem::take(&mut self.dropped);
        warn!(error, dropped, "The endpoint did not take {dropped} spans, which are dropped");
        self.told = Some(Instant::now());
        self.failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};

    use super::*;

    /// Tells of every batch, and takes it or not.
    #[derive(Debug)]
    struct Endpoint {
        batches: mpsc::UnboundedSender<usize>,
        is_away: bool,
    }

    impl SpanExporter for Endpoint {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.batches.send(batch.len()).unwrap();
            if self.is_away { Err(OTelSdkError::InternalFailure("away".to_owned())) } else { Ok(()) }
        }
    }

    fn endpoint(is_away: bool) -> (Collected, Export<Endpoint>, mpsc::UnboundedReceiver<usize>) {
        let (batches, told) = mpsc::unbounded_channel();
        let (collected, export) = new(Endpoint { batches, is_away });
        (collected, export, told)
    }

    fn span(flags: TraceFlags) -> SpanData {
        let now = SystemTime::UNIX_EPOCH;
        SpanData {
            span_context: SpanContext::new(TraceId::from(1), SpanId::from(1), flags, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "x".into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: Default::default(),
        }
    }

    #[tokio::test]
    async fn what_is_left_is_sent_at_the_end_in_batches() {
        let (collected, export, mut told) = endpoint(false);
        (0..BATCH + 10).for_each(|_| collected.on_end(span(TraceFlags::SAMPLED)));
        collected.on_end(span(TraceFlags::NOT_SAMPLED));
        let (end, ended) = oneshot::channel();
        end.send(()).unwrap();
        export.run(ended).await;
        let mut batches = Vec::new();
        told.recv_many(&mut batches, 10).await;
        assert_eq!(batches.iter().sum::<usize>(), BATCH + 10, "{batches:?}");
        assert!(batches.iter().all(|count| *count <= BATCH), "{batches:?}");
    }

    #[tokio::test]
    async fn a_few_spans_wait_for_each_other_and_are_sent_before_the_end() {
        let (collected, export, mut told) = endpoint(false);
        let (_end, ended) = oneshot::channel();
        tokio::spawn(export.run(ended));
        collected.on_end(span(TraceFlags::SAMPLED));
        tokio::task::yield_now().await;
        collected.on_end(span(TraceFlags::SAMPLED));
        assert_eq!(told.recv().await, Some(2));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_holds_up_nobody() {
        let (collected, mut export, _told) = endpoint(true);
        (0..QUEUE + 7).for_each(|_| collected.on_end(span(TraceFlags::SAMPLED)));
        assert_eq!(export.overflow.load(Ordering::Relaxed), 7);
        let mut batch = vec![span(TraceFlags::SAMPLED); 3];
        export.export(&mut batch).await;
        assert_eq!((export.dropped, batch.len()), (0, 0), "the first loss is told at once");
        assert!(export.told.is_some());
        let mut batch = vec![span(TraceFlags::SAMPLED); 5];
        export.export(&mut batch).await;
        assert_eq!(export.dropped, 5, "the next one a minute later");
    }
}
