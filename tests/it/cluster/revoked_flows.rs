//! While messages flow something is revoked: nothing of a second later reaches who is cut off, by any transport, and the metric says so too.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::StatusCode;
use tokio::{sync::Semaphore, time::timeout};

use super::*;
use crate::{
    harness::{
        metrics::Metrics,
        sockets::{PATIENCE, Received},
        stalls::Stalls,
    },
    revocations::{revoke, token},
};

/// What is published so long after the answer is delivered to nobody who is cut off, and nothing is delivered to them any more.
const BOUND: Duration = Duration::from_secs(1);
/// How long a frame that was sent within the bound may take to be seen by this test, which reads for everybody, besides what a timer of its own was late.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// A timer that was late by more says that the nodes may have been, too.
const STALLED: Duration = Duration::from_millis(500);
/// The upper ends of the metric's buckets from the bound on.
const BUCKETS_S: [&str; 4] = ["1", "2.5", "5", "10"];

/// When each number began to be published, and whether that was accepted.
type Flow = RefCell<Vec<(Instant, bool)>>;

/// Publishes 0, 1, 2 … without a pause until it is dropped.
async fn flow(tenant: &Tenant, begun: &Flow) {
    for number in 0.. {
        begun.borrow_mut().push((Instant::now(), false));
        let answer = post(tenant, "chat", json!(number)).await;
        // Those of an app that is cut off are refused, too.
        assert!([202, 401, 403, 404].contains(&answer.status), "{answer:?}");
        begun.borrow_mut()[number].1 = answer.status == 202;
    }
}

/// What a client that is cut off received: the last number, and when that came.
type Last = Option<(usize, Instant)>;

fn number(message: &Value) -> Last {
    let number = message["data"].as_u64().expect("the data is a number");
    (message["op"] == "message").then(|| (number as usize, Instant::now()))
}

/// What is revoked, how, and what its clients hear.
struct Case {
    what: &'static str,
    /// Whose it is, at whichever node.
    owner: Tenant,
    token: String,
    does: Does,
    code: u16,
    name: &'static str,
}

/// How it is revoked.
enum Does {
    Revoke(Value),
    DisableApp,
    DeleteApp,
    Suspend,
}

impl Case {
    /// Revokes it at one of the nodes, and returns with the answer.
    async fn revoke(&self, fleet: &Fleet) {
        let (elsewhere, app) = (self.owner.at(fleet.apis[1].url()), format!("/v1/apps/{}", self.owner.app));
        match &self.does {
            Does::Revoke(what) => drop(revoke(&elsewhere, what.clone()).await),
            Does::DisableApp => {
                drop(elsewhere.control(Method::PATCH, &app, json!({"enabled": false})).await.expect(StatusCode::OK));
            }
            Does::DeleteApp => {
                drop(elsewhere.control(Method::DELETE, &app, Value::Null).await.expect(StatusCode::NO_CONTENT));
            }
            Does::Suspend => drop(fleet.production.run(&["suspend", &self.owner.tenant]).await),
        }
    }

    /// Whether who is cut off may be refused so when it asks again: a gateway may know already that the key is gone, or the channel with its app.
    fn refuses_by(&self, answer: &Answer) -> bool {
        let codes = [self.name, "bad_token", "bad_key", "not_found"];
        [401, 403, 404].contains(&answer.status)
            && answer.body["code"].as_str().is_some_and(|code| codes.contains(&code))
    }

    /// Reads a socket to the close.
    async fn last_of_socket(&self, url: &str, is_in: &Semaphore) -> Last {
        let mut socket = Socket::connect(url, &self.token).await;
        socket.subscribe("chat").await;
        let mut last = number(&socket.event_of("message").await);
        is_in.add_permits(1);
        loop {
            match socket.receive().await {
                Received::Json(event) if event["op"] == "message" => last = number(&event),
                Received::Json(_) => {}
                Received::Close(code, name) if (code, name.as_str()) == (self.code, self.name) => return last,
                end => panic!("{}: {end:?}", self.what),
            }
        }
    }

    /// Reads a stream of events to the end.
    async fn last_of_stream(&self, url: &str, is_in: &Semaphore) -> Last {
        let mut stream = self.owner.at(url).stream(&self.token, "channel=chat", None).await;
        stream.next_of("open").await;
        let mut last = number(&stream.next_of("message").await.data);
        is_in.add_permits(1);
        loop {
            let event = stream.next().await.expect("an error comes before the end");
            match event.event.as_str() {
                "message" => last = number(&event.data),
                "error" => {
                    assert_eq!(event.data["error"]["code"], self.name, "{}", self.what);
                    return last;
                }
                other => panic!("{}: {other}: {event:?}", self.what),
            }
        }
    }

    /// Polls until that is refused.
    async fn last_of_polls(&self, url: &str, is_in: &Semaphore) -> Last {
        let at = self.owner.at(url);
        let (_, mut cursor) = at.polled(&self.token, "channel=chat").await;
        let mut last = None;
        loop {
            let answer = at.poll(&self.token, &format!("channel=chat&cursor={cursor}")).await;
            if answer.status != 200 {
                assert!(self.refuses_by(&answer), "{}: {answer:?}", self.what);
                return last;
            }
            let page = answer.body;
            page["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
            if let Some(message) = page["messages"].as_array().expect("messages").last() {
                if last.is_none() {
                    is_in.add_permits(1);
                }
                last = number(message);
            }
        }
    }

    /// Two sockets, a stream and a client that polls at each gateway follow what is published, until they are cut off.
    async fn judge(&self, fleet: &Fleet, gateways: &[&str]) {
        let (is_in, begun, stalls) = (Semaphore::new(0), Flow::default(), Stalls::begin());
        let sockets = join_all(gateways.iter().chain(gateways).map(|at| self.last_of_socket(at, &is_in)));
        let streams = join_all(gateways.iter().map(|at| self.last_of_stream(at, &is_in)));
        let polls = join_all(gateways.iter().map(|at| self.last_of_polls(at, &is_in)));
        let revoking = async {
            let everyone = timeout(3 * PATIENCE, is_in.acquire_many(4 * gateways.len() as u32)).await;
            drop(everyone.expect("everyone receives in time"));
            self.revoke(fleet).await;
            let answered = Instant::now();
            until("messages are published a good second later", async || {
                let last = begun.borrow().last().map(|(begun, _)| *begun);
                last.filter(|begun| begun.duration_since(answered) > BOUND + BOUND / 2)
            })
            .await;
            answered
        };
        let (sockets, streams, polls, answered) = tokio::select! {
            outcome = async { tokio::join!(sockets, streams, polls, revoking) } => outcome,
            () = flow(&self.owner, &begun) => unreachable!("it goes on"),
        };
        let begun = begun.into_inner();
        for (transport, lasts) in [("sockets", sockets), ("streams", streams), ("polls", polls)] {
            let what = format!("{}, {transport}", self.what);
            // However slow this machine is, it is known when each message was published.
            let published =
                lasts.iter().flatten().map(|(number, _)| begun[*number].0.saturating_duration_since(answered));
            let published = published.max().expect("everyone received something");
            assert!(published < BOUND, "{what}: published {published:?} after the answer");
            let came = lasts.iter().flatten().map(|(_, came)| came.saturating_duration_since(answered)).max();
            let came = came.expect("everyone received something");
            println!("{what}: the last message came {came:?} after the answer");
            let bound = BOUND + SEEN_WITHIN + stalls.longest();
            assert!(came < bound, "{what}: the last frame came {came:?} after the answer; the bound is {bound:?}");
        }
        if !matches!(self.does, Does::Revoke(_)) {
            let accepted = begun.iter().filter(|(_, is_accepted)| *is_accepted).map(|(at, _)| *at).max();
            let accepted = accepted.expect("some were accepted").saturating_duration_since(answered);
            assert!(accepted < BOUND, "{}: a publish of {accepted:?} after the answer was accepted", self.what);
        }
    }
}

/// What every node has counted of revocations that it obeys, and how many of these within a bound.
async fn obeyed(nodes: &[&Server], bucket: &str) -> Vec<(f64, f64)> {
    join_all(nodes.iter().map(async |node| {
        let metrics = Metrics::of(node).await;
        let within = metrics.sample(&format!("fanfare_revocation_seconds_bucket{{le=\"{bucket}\"}}"));
        (metrics.sample("fanfare_revocation_seconds_count"), within)
    }))
    .await
}

#[tokio::test]
async fn while_messages_flow_over_three_gateways_nothing_of_a_second_after_the_answer_is_delivered_by_any_transport() {
    let fleet = fleet().await;
    let third = fleet.production.node("gateway").await;
    let owner = fleet.tenant().await;
    let signer = owner.with_key(json!({"name": "signer"})).await;
    let gateways = [fleet.gateways[0].url(), fleet.gateways[1].url(), third.url()];
    let nodes: Vec<&Server> = fleet.gateways.iter().chain([&third]).chain(&fleet.apis).map(|node| &**node).collect();
    let mut stays = fleet.join(&owner, 1, "bob").await;
    stays.subscribe("chat").await;
    let (disabled, deleted, suspended) = (fleet.tenant().await, fleet.tenant().await, fleet.tenant().await);
    let case = |what, owner: &Tenant, token, does, code, name| {
        let owner = owner.clone();
        Case { what, owner, token, does, code, name }
    };
    let (by_token, by_client, by_key) =
        (json!({"token": "doomed"}), json!({"client": "cem"}), json!({"key": signer.key}));
    let signed = |of: &Tenant| token(of, "eva", "any");
    for case in [
        case("a token", &owner, token(&owner, "ann", "doomed"), Does::Revoke(by_token), 4013, "revoked"),
        case("a client", &owner, token(&owner, "cem", "any"), Does::Revoke(by_client), 4013, "revoked"),
        case("a key", &owner, token(&signer, "dan", "any"), Does::Revoke(by_key), 4011, "bad_key"),
        case("an app that is disabled", &disabled, signed(&disabled), Does::DisableApp, 4020, "app_disabled"),
        case("an app that is deleted", &deleted, signed(&deleted), Does::DeleteApp, 4020, "app_disabled"),
        case("a tenant", &suspended, signed(&suspended), Does::Suspend, 4020, "app_disabled"),
    ] {
        let (before, stalls) = (obeyed(&nodes, "1").await, Stalls::begin());
        case.judge(&fleet, &gateways).await;
        let grown = until("every node has counted it", async || {
            let now = obeyed(&nodes, "1").await;
            now.iter().zip(&before).all(|((now, _), (before, _))| now > before).then_some(now)
        })
        .await;
        // From the row to the last socket of a thread: what a machine that is slow adds, it adds to that. Then the bound is a later bucket.
        let late = stalls.longest();
        let at = BUCKETS_S.iter().position(|bucket| {
            let bucket: f64 = bucket.parse().expect("a number");
            late <= STALLED || bucket >= (BOUND + late).as_secs_f64()
        });
        let bucket = BUCKETS_S[at.unwrap_or(BUCKETS_S.len() - 1)];
        for (count, within) in obeyed(&nodes, bucket).await {
            assert_eq!(within, count, "{}: not all within {bucket} s; a timer was {late:?} late", case.what);
        }
        let counted: Vec<_> = grown.iter().zip(&before).map(|((now, _), (before, _))| now - before).collect();
        println!("{}: {counted:?} counted, all within {bucket} s; a timer was {late:?} late", case.what);
        // What stays goes on.
        post(&owner, "chat", json!(0)).await.expect(StatusCode::ACCEPTED);
        stays.event_of("message").await;
    }
}
