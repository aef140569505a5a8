//! Telemetry: the log on standard error, the metrics in the format of Prometheus, and the spans over OTLP.

use std::io::IsTerminal;

use fanfare_domain::traces;
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

mod measures;
mod spans;

pub use measures::Metrics;
pub use spans::{Otlp, OtlpError, Spans};

/// What the names of our crates begin with.
const OURS: &str = "fanfare";
/// It would print whole messages that RabbitMQ returns; what matters of it we tell ourselves.
const AMQP_CLIENT: &str = "lapin";

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What a person must act on.
    Error,
    /// And what went wrong but was handled.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// The telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// There is a log already.
    #[error("the log could not be set up: {0}")]
    Log(#[from] TryInitError),
    /// There is a recorder already.
    #[error("the metrics could not be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// What is set of OTLP cannot be worked with.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

/// Writes the log to standard error, and collects spans where there is an endpoint for them.
///
/// The level is that of our own crates; others say no more than `info`, since some print parameters and whole frames below it.
pub fn init(level: LogLevel, format: LogFormat, otlp: Option<&Otlp>) -> Result<Spans, TelemetryError> {
    let registry = Registry::default().with(lines(format).with_filter(levels(level)));
    let Some(otlp) = otlp else {
        registry.try_init()?;
        return Ok(Spans::default());
    };
    let (tracer, collected) = spans::collect(otlp)?;
    registry.with(spans::layer(tracer)).try_init()?;
    Ok(collected)
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn levels(level: LogLevel) -> Targets {
    let ours = LevelFilter::from(level);
    let others = ours.min(LevelFilter::INFO);
    Targets::new()
        .with_default(others)
        .with_target(OURS, ours)
        .with_target(traces::TARGET, LevelFilter::OFF)
        .with_target(AMQP_CLIENT, LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_level_is_that_of_our_crates_and_others_are_capped() {
        let loud = levels(LogLevel::Trace);
        assert!(loud.would_enable("fanfare_api::keys", &Level::TRACE));
        assert!(loud.would_enable("tokio_postgres", &Level::INFO));
        assert!(!loud.would_enable("tokio_postgres", &Level::DEBUG));
        let quiet = levels(LogLevel::Error);
        assert!(!quiet.would_enable("actix_server", &Level::INFO));
        assert!(!quiet.would_enable("fanfare", &Level::WARN));
    }

    #[test]
    fn the_spans_of_a_message_are_not_for_the_log() {
        assert!(!levels(LogLevel::Trace).would_enable(traces::TARGET, &Level::ERROR));
    }
}
