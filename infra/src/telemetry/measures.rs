//! The metrics, in the format of Prometheus.

use std::sync::{Mutex, PoisonError};

use fanfare_domain::metrics::{Kind, Metric};
use fanfare_protocol::ErrorCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;

/// From a tenth of a millisecond to ten seconds.
const BUCKETS_S: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder; a second call in the same process gives the same metrics.
    pub fn install() -> Result<Self, TelemetryError> {
        static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*installed {
            return Ok(metrics.clone());
        }
        let metrics = Self(PrometheusBuilder::new().set_buckets(BUCKETS_S)?.install_recorder()?);
        Metric::ALL.iter().copied().for_each(introduce);
        Ok(installed.insert(metrics).clone())
    }

    /// What `/metrics` answers.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the histograms small; to be called every few seconds, whether or not anybody reads them.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Describes a metric and sets it to zero, so that it is there before anything has happened.
fn introduce(metric: Metric) {
    let (name, help) = (metric.name(), metric.help());
    match metric.kind() {
        Kind::Counter => metrics::describe_counter!(name, help),
        Kind::Gauge => metrics::describe_gauge!(name, help),
        Kind::Histogram => metrics::describe_histogram!(name, help),
    }
    match (metric.kind(), metric.label()) {
        (Kind::Counter, None) => metric.add(0),
        (Kind::Counter, Some(_)) => label_values(metric).into_iter().for_each(|value| metric.add_labelled(value, 0)),
        (Kind::Gauge, _) => metric.shift(0.0),
        (Kind::Histogram, _) => drop(metrics::histogram!(name)),
    }
}

/// The values of a counter's label that are known beforehand.
fn label_values(metric: Metric) -> Vec<&'static str> {
    match metric {
        Metric::ConnectionsClosed => {
            let codes = ErrorCode::ALL.iter().filter(|code| code.row().close.is_some()).map(|code| code.name());
            codes.chain(["client"]).collect()
        }
        Metric::Publishes => {
            let refused =
                [ErrorCode::RateLimited, ErrorCode::BacklogFull, ErrorCode::Unconfirmed, ErrorCode::Unavailable];
            ["accepted"].into_iter().chain(refused.map(ErrorCode::name)).collect()
        }
        Metric::DeadLetters => vec!["conflict", "malformed", "rejected"],
        Metric::Drops => vec!["ephemeral_overflow", "slow_consumer"],
        Metric::SpansDropped => vec!["export_failed", "queue_full"],
        Metric::HistoryReads => vec!["history", "resume"],
        Metric::WindowReads => vec!["log", "window"],
        Metric::ConnectionsOpened => vec!["poll", "pusher", "sse", "websocket"],
        Metric::WebhookRequests => vec!["failed", "refused", "taken"],
        Metric::WebhookEvents => vec!["expired", "overflow", "told", "unreadable", "unwanted"],
        Metric::WebhookNotesDropped => vec!["events", "hints"],
        Metric::TlsHandshakeFailures => vec!["busy", "failed", "plain_http", "timeout"],
        Metric::TlsCertificateReloads => vec!["refused", "used"],
        Metric::KeySetFetches => vec!["failed", "fetched"],
        Metric::HttpRequests => vec!["2xx", "3xx", "4xx", "5xx"],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_before_anything_has_happened() {
        let text = Metrics::install().unwrap().render();
        for metric in Metric::ALL {
            let (name, kind) = (metric.name(), metric.kind().name());
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{text}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
        assert!(text.contains("fanfare_drops_total{reason=\"slow_consumer\"} 0"));
        assert!(text.contains("fanfare_append_seconds_bucket{le=\"0.001\"} 0"));
    }
}
