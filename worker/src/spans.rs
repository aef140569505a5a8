//! The spans of a batch: one for each message whose trace is exported, and for its steps. Of the others nothing is made.

use fanfare_domain::{
    publishing::Accepted,
    traces::{self, TARGET, TraceParent},
};
use tracing::{Span, field::Empty, info_span};

/// The spans of a batch, each with its message's place in it. They end when this is dropped.
pub(crate) struct Spans(Vec<(usize, Span)>);

impl Spans {
    /// Begins a span under each message's own trace.
    pub(crate) fn begin(messages: &[Accepted]) -> Self {
        let traced = messages.iter().enumerate().filter_map(|(at, accepted)| {
            let parent = traces::recorded(accepted.trace.as_ref())?;
            let span = info_span!(
                target: TARGET,
                parent: None,
                "deliver",
                otel.kind = "consumer",
                otel.status_code = Empty,
                app.id = %accepted.app,
                message.id = %accepted.message.id,
                redelivered = accepted.redelivered,
            );
            Some((at, traces::under(Some(parent), span)))
        });
        Self(traced.collect())
    }

    /// Begins the step in which the batch is appended; it ends when the answer is dropped.
    pub(crate) fn append(&self) -> Vec<Span> {
        self.0.iter().map(|(_, span)| info_span!(target: TARGET, parent: span, "append")).collect()
    }

    /// Begins the step in which the batch is put on the bus.
    pub(crate) fn send(&self) -> Vec<Span> {
        self.0.iter().map(|(_, span)| info_span!(target: TARGET, parent: span, "send")).collect()
    }

    /// Notes that nothing came of the batch.
    pub(crate) fn fail(&self) {
        self.0.iter().for_each(|(_, span)| _ = span.record("otel.status_code", "ERROR"));
    }

    /// The trace that a message goes on with.
    pub(crate) fn trace(&self, at: usize, accepted: &Accepted) -> Option<TraceParent> {
        let found = self.0.binary_search_by_key(&at, |(at, _)| *at).ok();
        found.and_then(|found| traces::context(&self.0[found].1)).or_else(|| accepted.trace.clone())
    }
}
