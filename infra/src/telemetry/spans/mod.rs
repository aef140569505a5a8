//! The spans of messages, exported over OTLP in the background: what the endpoint does not take is dropped and counted.

use std::time::Duration;

use fanfare_domain::traces::{self, TraceParent};
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider},
};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _},
};
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle, time::timeout};
use tracing::{Span, Subscriber, level_filters::LevelFilter, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

mod queue;

use queue::{Collected, Export};

/// How long the endpoint may take for one batch.
const ANSWER: Duration = Duration::from_secs(5);

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// The collector, as `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
    pub endpoint: String,
    /// The share of the traces that is exported, 0 to 1; also of those that a caller asks for.
    pub sample: f64,
    /// What the process calls itself, as `fanfare-gateway`.
    pub service: &'static str,
}

/// What is set of OTLP cannot be worked with.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported over OTLP: {0}")]
pub struct OtlpError(String);

/// The spans of this process, on their way to the endpoint. Without an endpoint there are none.
#[derive(Default)]
pub struct Spans(Option<Way>);

enum Way {
    /// Collected; nothing is sent yet.
    Waiting(Box<Export>),
    Sending {
        end: oneshot::Sender<()>,
        sending: JoinHandle<()>,
    },
}

impl Spans {
    /// Begins to send, on that runtime.
    pub fn start(&mut self, runtime: &Handle) {
        self.0 = match self.0.take() {
            Some(Way::Waiting(export)) => {
                let (end, ended) = oneshot::channel();
                Some(Way::Sending { end, sending: runtime.spawn(export.run(ended)) })
            }
            other => other,
        };
    }

    /// Sends what is left, within that time.
    pub async fn end(self, within: Duration) {
        let Some(Way::Sending { end, sending }) = self.0 else { return };
        // Gone only if the task panicked.
        let _ = end.send(());
        if timeout(within, sending).await.is_err() {
            warn!("The last spans could not be exported in time");
        }
    }
}

/// Makes the way from spans to the endpoint.
pub(super) fn collect(otlp: &Otlp) -> Result<(SdkTracer, Spans), OtlpError> {
    let resource = Resource::builder()
        .with_service_name(otlp.service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", hex::encode(rand::random::<[u8; 16]>())))
        .build();
    let mut exporter = exporter(&otlp.endpoint)?;
    exporter.set_resource(&resource);
    let (spans, export) = queue::new(exporter);
    let tracer = provider(spans, otlp.sample, resource).tracer("fanfare");
    traces::export_by(&Bridge);
    Ok((tracer, Spans(Some(Way::Waiting(Box::new(export))))))
}

fn exporter(endpoint: &str) -> Result<SpanExporter, OtlpError> {
    // A client is made ready for TLS also where it speaks none. Fails only where a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| OtlpError(error.to_string()))?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(ANSWER)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| OtlpError(error.to_string()))
}

/// A trace that others ask for is drawn by the same lot: whoever calls cannot make us export more than the share. The lot is the trace's
/// id, so that every process draws the same.
fn provider(spans: Collected, sample: f64, resource: Resource) -> SdkTracerProvider {
    let share = Sampler::TraceIdRatioBased(sample);
    let sampler = Sampler::parent_based(share.clone()).with_remote_parent_sampled(share);
    SdkTracerProvider::builder().with_span_processor(spans).with_sampler(sampler).with_resource(resource).build()
}

/// Makes exported spans of those with the messages' target.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_filter(Targets::new().with_target(traces::TARGET, LevelFilter::INFO))
}

/// Between the contexts that travel with messages and those of the exported spans.
struct Bridge;

impl traces::Exporter for Bridge {
    fn adopt(&self, span: &Span, parent: &TraceParent) {
        let (Ok(trace), Ok(id)) = (TraceId::from_hex(parent.trace_id()), SpanId::from_hex(parent.span_id())) else {
            return;
        };
        let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let context = SpanContext::new(trace, id, flags, true, TraceState::NONE);
        // A span that was just made has not begun, and one that nobody wants has no parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(context));
    }

    fn context(&self, span: &Span) -> Option<TraceParent> {
        let context = span.context();
        let context = context.span().span_context().clone();
        let flags = u8::from(context.is_sampled());
        TraceParent::parse(&format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }
}
