//! `GET /v1/poll`: what is past a cursor, or what comes next, as one page.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, Resource, http::Method, web};
use bytes::Bytes;
use fanfare_domain::{Refusal, connections::Command, history::PAGE_BYTES};
use fanfare_protocol::{ErrorCode, Serial, events::Subscribed, websocket::text_of};
use tokio::time::{Duration, Instant, timeout_at};

use crate::{
    accept, cross_origin,
    hub::Hub,
    sockets::{Mail, Transport},
    streams::{self, Stream, said},
};

/// What the cursor, the positions and the names of a page may take of its bytes.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// How long messages that are known to be there may take to be read, however short the poll is to wait.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(10);

/// Where streams are polled.
pub(crate) fn resource() -> Resource {
    web::resource("/v1/poll")
        .route(web::get().to(poll))
        .route(web::method(Method::OPTIONS).to(cross_origin::preflight))
        .default_service(web::to(accept::other_method))
}

async fn poll(request: HttpRequest) -> HttpResponse {
    let (stream, asked) = match streams::begin(&request, Transport::Poll).await {
        Ok(begun) => begun,
        Err(refused) => return refused,
    };
    let hub = request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread");
    // Whoever begins is told at once where the channels stand, and brought what is behind of those that go on.
    let begins = asked.cursor.is_none() && asked.begins.iter().all(Option::is_none);
    let page = if begins {
        Ok(Page::default().finish(&stream))
    } else {
        let wait = if asked.goes_on() { asked.wait } else { Duration::ZERO };
        Gathering::new(stream).answer(wait, hub).await
    };
    match page {
        Ok(page) => {
            let mut answer = HttpResponse::Ok().content_type("application/json").body(page);
            cross_origin::share(asked.origin.as_deref(), answer.headers_mut());
            answer
        }
        Err(refusal) => streams::refuse(&request, hub, &refusal).await,
    }
}

/// A page that fills.
struct Gathering {
    stream: Stream,
    page: Page,
    /// For each channel, the head that is there already, until the page has come that far.
    awaited: Vec<Option<Serial>>,
}

/// What a frame means for the page.
enum Next {
    GoOn,
    Answer,
    Refuse(Refusal),
}

impl Gathering {
    fn new(stream: Stream) -> Self {
        let mut page = Page::default();
        stream.gaps.iter().for_each(|gap| page.push(gap.as_bytes()));
        let awaited = stream.started.iter().map(|one| (one.backlog > 0).then_some(one.serial)).collect();
        Self { stream, page, awaited }
    }

    /// The page, which leaves like anything else: while it is known what was revoked, and to who was not cut off since it began to fill.
    async fn answer(mut self, wait: Duration, hub: &Hub) -> Result<String, Refusal> {
        self.gather(wait).await?;
        let may_leave = hub.may_deliver() || (hub.current_soon().await && hub.may_deliver());
        if !may_leave {
            let why = "this node cannot tell what was revoked in the last second";
            return Err(Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)));
        }
        if self.stream.outlet.is_cut_off() {
            let said = self.stream.outlet.take(said::decides).await;
            let text = said.and_then(|taken| text_of(&taken.frame));
            return Err(text.map_or_else(|| Refusal::plain(ErrorCode::Revoked), |text| said::reason(&text)));
        }
        Ok(self.finish())
    }

    /// Everything that is past the cursor, as far as a page goes; or else the first that comes, with what comes with it.
    async fn gather(&mut self, wait: Duration) -> Result<(), Refusal> {
        let wait = if self.lacks() { wait.max(BACKLOG_PATIENCE) } else { wait };
        let deadline = Instant::now() + wait;
        loop {
            if self.page.is_empty() || self.lacks() {
                match timeout_at(deadline, self.stream.outlet.filled()).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => break,
                }
            }
            let page = &self.page;
            let Some(taken) = self.stream.outlet.take_now(|frame| page.has_room(frame.len())) else { break };
            if let Some(which) = taken.mark.and_then(|mark| self.stream.positions.advance(&mark)) {
                let reached = self.awaited[which].is_some_and(|head| self.stream.positions.serial(which) >= head);
                self.awaited[which] = self.awaited[which].filter(|_| !reached);
            }
            match self.take(&taken.frame) {
                Next::GoOn => {}
                Next::Answer => return Ok(()),
                Next::Refuse(refusal) => return Err(refusal),
            }
        }
        if self.page.is_empty() && self.lacks() {
            let why = "the messages after the cursor could not be read in time";
            return Err(Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }

    /// Whether messages are known to be there that the page does not hold yet.
    fn lacks(&self) -> bool {
        self.awaited.iter().any(Option::is_some)
    }

    fn take(&mut self, frame: &Bytes) -> Next {
        let Some(text) = text_of(frame) else { return Next::Answer };
        match said::op(&text) {
            // An answer; and what is said of a connection that ends with its answer anyhow.
            None | Some("token_expiring") => {}
            Some("ping") => drop(self.stream.address.try_send(Mail::new(Command::Heard))),
            // The node is going: the next one goes on from the cursor.
            Some("reconnect") => return Next::Answer,
            Some("error") => return self.end(said::reason(&text)),
            Some(_) => {
                if let Some(which) = said::ended_channel(&text).and_then(|channel| self.stream.positions.of(&channel)) {
                    self.awaited[which] = None;
                }
                self.page.push(&text);
            }
        }
        Next::GoOn
    }

    /// What the client got too slowly, or from a node that goes, it gets with the next poll; any other end is a refusal.
    fn end(&self, reason: Refusal) -> Next {
        match reason.code {
            ErrorCode::SlowConsumer | ErrorCode::Draining => Next::Answer,
            _ => Next::Refuse(reason),
        }
    }

    fn finish(self) -> String {
        self.page.finish(&self.stream)
    }
}

/// The objects of a page, one after the other.
#[derive(Default)]
struct Page(String);

impl Page {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether so many more bytes have room; one object always has.
    fn has_room(&self, bytes: usize) -> bool {
        self.is_empty() || self.0.len() + bytes < PAGE_BYTES - ENVELOPE_BYTES
    }

    fn push(&mut self, text: &[u8]) {
        if !self.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&String::from_utf8_lossy(text));
    }

    fn finish(self, stream: &Stream) -> String {
        self.with(&stream.positions.cursor(), &stream.started)
    }

    /// `started`: where the page began.
    fn with(self, cursor: &str, started: &[Subscribed]) -> String {
        let positions = serde_json::to_string(started).expect("positions are made of strings and numbers");
        format!("{{\"messages\":[{}],\"cursor\":\"{cursor}\",\"positions\":{positions}}}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_object_and_takes_at_least_one_message() {
        assert_eq!(Page::default().with("c", &[]), r#"{"messages":[],"cursor":"c","positions":[]}"#);
        let mut page = Page::default();
        assert!(page.has_room(2 * PAGE_BYTES));
        page.push(b"{\"op\":\"x\"}");
        page.push("{\"op\":\"é\"}".as_bytes());
        assert!(page.has_room(PAGE_BYTES / 2) && !page.has_room(PAGE_BYTES));
        assert_eq!(page.with("c", &[]), r#"{"messages":[{"op":"x"},{"op":"é"}],"cursor":"c","positions":[]}"#);
    }
}
