//! Trace contexts, as they travel with a message, and the spans of its way, which are exported where an endpoint is configured.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tracing::Span;

/// The target of the spans of a message's way. Whoever exports wants them; to everybody else they are disabled, and cost nothing.
pub const TARGET: &str = "fanfare_traces";

/// A `traceparent` of W3C Trace Context: version, trace id, parent id and flags.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceParent(Arc<str>);

impl TraceParent {
    /// Reads a header's value; `None` if it is not of the form `00-<32 hex>-<16 hex>-<2 hex>` or an id is all zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, len| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
        let valid = version == "00"
            && parts.next().is_none()
            && is_hex(trace, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2)
            && !is_zero(trace)
            && !is_zero(parent);
        valid.then(|| Self(text.into()))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace's id: 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The id of the span that what follows is a child of: 16 hex digits.
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Whether the trace is recorded by those who gave it.
    pub fn is_sampled(&self) -> bool {
        self.0.as_bytes().last().is_some_and(|digit| b"13579bdf".contains(digit))
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who exports spans, as those see it who make them.
pub trait Exporter: Send + Sync {
    /// Puts a span that was just made under a parent, which may be of another process.
    fn adopt(&self, span: &Span, parent: &TraceParent);
    /// The span's context, for those who go on where it was.
    fn context(&self, span: &Span) -> Option<TraceParent>;
}

static EXPORTER: OnceLock<&'static dyn Exporter> = OnceLock::new();

/// Names the exporter of this process; the first one stands.
pub fn export_by(exporter: &'static dyn Exporter) {
    // A process has one log, and so one exporter.
    let _ = EXPORTER.set(exporter);
}

/// Whether anybody exports spans.
pub fn are_exported() -> bool {
    EXPORTER.get().is_some()
}

/// The span, under its parent.
pub fn under(parent: Option<&TraceParent>, span: Span) -> Span {
    if let (Some(exporter), Some(parent)) = (EXPORTER.get(), parent) {
        exporter.adopt(&span, parent);
    }
    span
}

/// A span's context; `None` if nobody exports it.
pub fn context(span: &Span) -> Option<TraceParent> {
    EXPORTER.get()?.context(span)
}

/// The message's trace, if a span of it would be exported.
pub fn recorded(trace: Option<&TraceParent>) -> Option<&TraceParent> {
    trace.filter(|trace| trace.is_sampled() && are_exported())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_standard_is_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).unwrap().as_str(), good);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(TraceParent::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_context_tells_its_parts() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true), ("fe", false)]
        {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(parent.span_id(), "00f067aa0ba902b7");
            assert_eq!(parent.is_sampled(), sampled, "{flags}");
        }
    }

    #[test]
    fn nothing_is_recorded_where_nobody_exports() {
        let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert!(recorded(Some(&parent)).is_none());
        assert!(context(&under(Some(&parent), Span::none())).is_none());
    }
}
