//! Every metric that Fanfare exports, in one documented list. The recorder is there before anything is measured.

use std::cell::OnceCell;

/// What a metric measures and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

impl Kind {
    /// The word for it in `docs/metrics.md`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($variant:ident $kind:ident $name:literal $label:expr, $help:literal;)*) => {
        /// One metric. No metric names a tenant, an app or a channel.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// The name on `/metrics`.
            pub fn name(self) -> &'static str {
                match self { $(Metric::$variant => $name,)* }
            }

            /// Its kind.
            pub fn kind(self) -> Kind {
                match self { $(Metric::$variant => Kind::$kind,)* }
            }

            /// The name of its one label, if it has one.
            pub fn label(self) -> Option<&'static str> {
                match self { $(Metric::$variant => $label,)* }
            }

            /// What it measures.
            pub fn help(self) -> &'static str {
                match self { $(Metric::$variant => $help,)* }
            }
        }
    };
}

metrics! {
    Connections Gauge "fanfare_connections" None, "Connections that have connected and are open.";
    Sockets Gauge "fanfare_sockets" None, "Open sockets, also those that have not sent `connect` yet.";
    ConnectionsOpened Counter "fanfare_connections_opened_total" Some("transport"), "Connections that have connected, by transport: `websocket`, `pusher`, `sse`, `poll` (each poll for itself).";
    ConnectionsClosed Counter "fanfare_connections_closed_total" Some("reason"), "Sockets closed, by reason: an error code, or `client` where the client closed.";
    Subscriptions Gauge "fanfare_subscriptions" None, "Subscriptions of all connections.";
    OccupancyEvents Counter "fanfare_occupancy_events_total" None, "Occupancy events put on the way to a subscriber.";
    OccupancyRetold Counter "fanfare_occupancy_retold_total" None, "Times that this node told all its counts of subscriptions anew: as it began, and after Redis was away or this node stopped.";
    Publishes Counter "fanfare_publishes_total" Some("outcome"), "Messages that publishers offered, by outcome: `accepted`, or the error code.";
    PublishSeconds Histogram "fanfare_publish_seconds" None, "From a publish's arrival to its acceptance.";
    Deliveries Counter "fanfare_deliveries_total" None, "Messages put on the way to a subscriber.";
    DeliverySeconds Histogram "fanfare_delivery_seconds" None, "From a message's acceptance to its fan-out on a node.";
    Drops Counter "fanfare_drops_total" Some("reason"), "Messages that a subscriber did not get, by reason: `ephemeral_overflow`, `slow_consumer`.";
    AppendSeconds Histogram "fanfare_append_seconds" None, "One append of a batch to the message log, commit included.";
    AppendMessages Counter "fanfare_append_messages_total" None, "Messages appended to the log.";
    DeadLetters Counter "fanfare_dead_letters_total" Some("reason"), "Messages set aside among the dead letters, by reason: `conflict`, `malformed`, `rejected`.";
    Partitions Gauge "fanfare_partitions" None, "Partitions of the queue that this worker tends.";
    Redeliveries Counter "fanfare_redeliveries_total" None, "Messages that the queue handed out and that may have been handed out before: redelivered ones, and the first ones of a new owner.";
    Fenced Counter "fanfare_fenced_total" None, "Batches that were not appended, since their partition has another owner by now.";
    BusInterruptions Counter "fanfare_bus_interruptions_total" None, "Times that the bus may have lost something, so that every local channel was compared with the log; each thread of the gateway counts for itself.";
    HistoryReads Counter "fanfare_history_reads_total" Some("purpose"), "Pages read from the log, by purpose: `history`, `resume`.";
    WindowReads Counter "fanfare_window_reads_total" Some("source"), "Pages read of a channel, by source: `window` in Redis, or `log`.";
    HttpRequests Counter "fanfare_http_requests_total" Some("status"), "HTTP requests answered, by class of status.";
    HttpSeconds Histogram "fanfare_http_request_seconds" None, "From an HTTP request's arrival to its answer; upgrades not counted.";
    OutboxBytes Gauge "fanfare_outbox_bytes" None, "Bytes that wait in the outboxes of all connections.";
    TlsHandshakeFailures Counter "fanfare_tls_handshake_failures_total" Some("reason"), "Connections that did not get through the TLS handshake, by reason: `busy`, `failed`, `plain_http`, `timeout`.";
    TlsCertificateReloads Counter "fanfare_tls_certificate_reloads_total" Some("outcome"), "Changed certificate files, by outcome: `used`, `refused`.";
    TlsCertificateExpiry Gauge "fanfare_tls_certificate_expiry_seconds" None, "When the certificate in use ends, in seconds since 1970; 0 without TLS.";
    KeySetFetches Counter "fanfare_key_set_fetches_total" Some("outcome"), "Fetches of a signer's JWKS, by outcome: `fetched`, `failed`.";
    RevocationSeconds Histogram "fanfare_revocation_seconds" None, "From a revocation's row in the database, by the database's clock, to its being obeyed: each thread of a gateway counts for itself, when it has cut its sockets off; a process without a gateway counts once, when it refuses.";
    WebhookRequests Counter "fanfare_webhook_requests_total" Some("outcome"), "Requests to webhooks, by outcome: `taken` (2xx), `refused` (another status), `failed` (no answer in time, or an address that is not called).";
    WebhookEvents Counter "fanfare_webhook_events_total" Some("outcome"), "Events that webhooks were to be told, by outcome: `told`, `expired` (not taken within 5 minutes), `overflow` (too many waited for one webhook), `unwanted` (the webhook or its app was removed or disabled meanwhile), `unreadable`.";
    WebhookSeconds Histogram "fanfare_webhook_request_seconds" None, "From a request to a webhook to its answer, or to its failure.";
    WebhookWaiting Gauge "fanfare_webhook_waiting" None, "Events that this worker has in hand for webhooks.";
    WebhookNotesDropped Counter "fanfare_webhook_notes_dropped_total" Some("reason"), "Notes for webhooks that were let go since too many waited, by reason: `hints` (of who is there, which is found again within a minute), `events` (client events and cache misses, which are lost).";
    SpansExported Counter "fanfare_spans_exported_total" None, "Spans that the OTLP endpoint took.";
    SpansDropped Counter "fanfare_spans_dropped_total" Some("reason"), "Spans that were not exported, by reason: `export_failed`, `queue_full`.";
}

const COUNT: usize = Metric::ALL.len();

thread_local! {
    /// What this thread has measured before: to find a metric in the recorder costs more than to change it.
    static COUNTERS: [OnceCell<metrics::Counter>; COUNT] = const { [const { OnceCell::new() }; COUNT] };
    static GAUGES: [OnceCell<metrics::Gauge>; COUNT] = const { [const { OnceCell::new() }; COUNT] };
    static HISTOGRAMS: [OnceCell<metrics::Histogram>; COUNT] = const { [const { OnceCell::new() }; COUNT] };
}

impl Metric {
    /// Adds to a counter.
    pub fn add(self, count: u64) {
        debug_assert!(self.kind() == Kind::Counter && self.label().is_none());
        let find = || metrics::counter!(self.name());
        COUNTERS.with(|known| known[self as usize].get_or_init(find).increment(count));
    }

    /// Adds to a counter under its label.
    pub fn add_labelled(self, value: &'static str, count: u64) {
        debug_assert!(self.kind() == Kind::Counter);
        let label = self.label().expect("a labelled metric has a label");
        metrics::counter!(self.name(), label => value).increment(count);
    }

    /// Moves a gauge up or down.
    pub fn shift(self, by: f64) {
        debug_assert!(self.kind() == Kind::Gauge);
        self.with_gauge(|gauge| gauge.increment(by));
    }

    /// Sets a gauge.
    pub fn set(self, value: f64) {
        debug_assert!(self.kind() == Kind::Gauge);
        self.with_gauge(|gauge| gauge.set(value));
    }

    fn with_gauge(self, change: impl FnOnce(&metrics::Gauge)) {
        let find = || metrics::gauge!(self.name());
        GAUGES.with(|known| change(known[self as usize].get_or_init(find)));
    }

    /// Records a duration in a histogram.
    pub fn observe(self, elapsed: std::time::Duration) {
        debug_assert!(self.kind() == Kind::Histogram);
        let find = || metrics::histogram!(self.name());
        HISTOGRAMS.with(|known| known[self as usize].get_or_init(find).record(elapsed.as_secs_f64()));
    }
}
