//! The span of a message's fan-out, the last of its way.

use fanfare_domain::{
    messages::Envelope,
    traces::{self, TARGET},
};
use tracing::{Span, info_span};

/// Begins the span, if the message's trace is exported; it ends when the answer is dropped.
pub(super) fn fan_out(envelope: &Envelope) -> Option<Span> {
    let parent = traces::recorded(envelope.trace.as_ref())?;
    let span = info_span!(
        target: TARGET,
        parent: None,
        "fan_out",
        otel.kind = "consumer",
        app.id = %envelope.app,
        message.id = %envelope.message.id,
    );
    Some(traces::under(Some(parent), span))
}
