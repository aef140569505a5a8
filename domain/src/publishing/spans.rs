//! The span of a publish: the first of its messages' way, under the caller's own.

use tracing::{Span, field::Empty, info_span};

use super::{NewPublish, Published};
use crate::{
    Refusal,
    ids::AppId,
    traces::{self, TARGET},
};

/// Begins the span, where spans are exported, and has the messages go on under it; elsewhere they go on under the caller's.
pub(super) fn begin(app: &AppId, wanted: &mut [Result<NewPublish, Refusal>]) -> Span {
    if !traces::are_exported() {
        return Span::none();
    }
    let span = info_span!(
        target: TARGET,
        parent: None,
        "publish",
        otel.kind = "producer",
        app.id = %app,
        messages = wanted.len(),
        message.id = Empty,
    );
    let asked = wanted.iter().flatten().find_map(|publish| publish.trace.clone());
    let span = traces::under(asked.as_ref(), span);
    let Some(trace) = traces::context(&span) else { return span };
    // The request's own span tells the log's readers which trace to look for.
    Span::current().record("trace.id", trace.trace_id());
    for publish in wanted.iter_mut().flatten() {
        publish.trace = Some(trace.clone());
    }
    span
}

/// Ends the span; that of one message names it.
pub(super) fn end(span: Span, published: &Published) {
    if let [Ok(receipt)] = published.results.as_slice() {
        span.record("message.id", receipt.id.as_str());
    }
}
