//! A collector of OTLP over HTTP that keeps what it is sent.

use std::collections::BTreeMap;

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, rt, web};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
};
use prost::Message;
use tokio::{sync::mpsc, time::timeout};

use crate::harness::sockets::PATIENCE;

/// A span as it was exported.
#[derive(Debug, Clone)]
pub struct Exported {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty if it has none.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    /// Of the process that made it.
    pub service: String,
}

/// The collector. Dropped, it ends.
pub struct Collector {
    url: String,
    server: ServerHandle,
    requests: mpsc::UnboundedReceiver<web::Bytes>,
    /// Every request's body.
    pub bodies: Vec<web::Bytes>,
    /// Every span.
    pub spans: Vec<Exported>,
}

impl Collector {
    /// A collector on a free port.
    pub async fn start() -> Self {
        let (send, requests) = mpsc::unbounded_channel();
        let collect = move |body: web::Bytes| {
            let send = send.clone();
            async move {
                // The collector outlives the server that it serves.
                let _ = send.send(body);
                let taken = ExportTraceServiceResponse::default().encode_to_vec();
                HttpResponse::Ok().content_type("application/x-protobuf").body(taken)
            }
        };
        let server = HttpServer::new(move || App::new().route("/v1/traces", web::post().to(collect.clone())))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .expect("there is a free port");
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        Self { url, server: handle, requests, bodies: Vec::new(), spans: Vec::new() }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until so many spans of a name have come, and gives them.
    pub async fn named(&mut self, name: &str, count: usize) -> Vec<Exported> {
        let collected = timeout(PATIENCE, async {
            while self.of(name).len() < count {
                let body = self.requests.recv().await.expect("the collector runs");
                self.take(body);
            }
        });
        if collected.await.is_err() {
            panic!("{count} spans `{name}` did not come: {:#?}", self.spans);
        }
        self.of(name)
    }

    /// The only span of a name, once it has come.
    pub async fn one(&mut self, name: &str) -> Exported {
        let mut found = self.named(name, 1).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// Takes what has come by now; of a server that has ended, everything.
    pub fn take_all(&mut self) {
        while let Ok(body) = self.requests.try_recv() {
            self.take(body);
        }
    }

    fn of(&self, name: &str) -> Vec<Exported> {
        self.spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    fn take(&mut self, body: web::Bytes) {
        let request = ExportTraceServiceRequest::decode(body.as_ref()).expect("spans come as protobuf");
        self.bodies.push(body);
        for resource in request.resource_spans {
            let service = texts(resource.resource.expect("a resource").attributes).remove("service.name");
            let service = service.expect("a service has a name");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.spans.push(Exported {
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    attributes: texts(span.attributes),
                    service: service.clone(),
                });
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
