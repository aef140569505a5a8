//! A table of sleep, offline and expiry for fresh tokens: whatever happens, a subscriber sees every serial once, in order.
//!
//! While a connection waits, expires or sleeps, messages are published all the time; each case is judged by what one subscriber received.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::{Received, Socket},
    tenants::{Tenant, start},
    tokens::every_right,
    waiting::until,
};

/// What a subscriber has received of one channel, judged as it comes.
#[derive(Debug)]
struct Seen {
    channel: String,
    epoch: String,
    last: u64,
}

impl Seen {
    /// Subscribes from the head.
    async fn from_head(socket: &mut Socket, channel: &str) -> Self {
        let ok = socket.subscribe(channel).await;
        let last = ok["serial"].as_u64().expect("a serial");
        Self { channel: channel.to_owned(), epoch: ok["epoch"].as_str().expect("an epoch").to_owned(), last }
    }

    /// Takes an event; whatever is skipped, doubled or told as lost fails the test.
    #[track_caller]
    fn take(&mut self, event: &Value) {
        if event["channel"] != self.channel.as_str() {
            return;
        }
        assert_eq!(event["op"], "message", "{}: {event}", self.channel);
        assert_eq!(event["serial"], self.last + 1, "{}: {event}", self.channel);
        self.last += 1;
    }

    /// Reads until it has seen a serial.
    async fn up_to(&mut self, socket: &mut Socket, serial: u64) {
        while self.last < serial {
            let event = socket.event().await;
            self.take(&event);
        }
    }

    /// Subscribes again, after what was seen.
    async fn resume(&self, socket: &mut Socket) {
        assert_eq!(socket.resume(&self.channel, &self.epoch, self.last).await["resumed"], true);
    }
}

fn refresh(token: &str) -> Value {
    json!({"op": "token", "token": token})
}

/// Publishes as many in one request, and waits until the channel has so many.
async fn publish_many(tenant: &Tenant, channel: &str, count: usize, in_all: u64) {
    for from in (0..count).step_by(1_000) {
        let some = (from..count.min(from + 1_000))
            .map(|number| json!({"channel": channel, "data": format!("{number:0>300}")}));
        let body = json!({"messages": some.collect::<Vec<_>>()});
        tenant.data(reqwest::Method::POST, "/v1/messages", body).await.expect(reqwest::StatusCode::OK);
    }
    tenant.reaches(channel, in_all).await;
}

/// Lets time pass while nothing of the socket is read.
async fn asleep_until(awake: Instant) {
    until("the sleeper wakes", async || (Instant::now() >= awake).then_some(())).await;
}

/// Asks until the token has run out; nothing but answers is passed over.
async fn expire(socket: &mut Socket) {
    let ask = json!({"op": "history", "channel": "nothing", "limit": 1});
    loop {
        let answer = socket.answer(ask.clone()).await;
        if answer.get("ok").is_none() {
            return assert_eq!(answer["error"]["code"], "token_expired", "{answer}");
        }
    }
}

/// How a connection meets the end of its token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meets {
    /// A fresh token comes before.
    InTime,
    /// It comes in the 30 s after.
    InGrace,
    /// Nothing is read or sent from before the end until after it; then it comes.
    AsleepPastTheEnd,
    /// It is sent while a short one runs out, some milliseconds before or after.
    Racing,
    /// It never comes: the connection is closed, and resumed on another.
    TooLate,
    /// The connection breaks, the token ends meanwhile, and another connection resumes with a fresh one.
    Offline,
}

/// What the fresh token allows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fresh {
    /// All that the first one did.
    Whole,
    /// One of the two channels.
    Narrower,
}

/// What a subscriber to two channels saw, of which a fresh token may take one.
struct Both {
    kept: Seen,
    lost: Seen,
    has_ended: bool,
}

impl Both {
    /// Takes an event; one of a subscription that is over fails the test.
    #[track_caller]
    fn take(&mut self, event: &Value) {
        if event["channel"] != self.lost.channel.as_str() {
            return self.kept.take(event);
        }
        assert!(!self.has_ended, "after its subscription ended: {event}");
        if event["op"] == "unsubscribed" {
            assert_eq!(event["error"]["code"], "forbidden", "{event}");
            self.has_ended = true;
        } else {
            self.lost.take(event);
        }
    }

    /// Reads until it has seen a serial of both, or of the one and the end of the other.
    async fn up_to(&mut self, socket: &mut Socket, serial: u64, fresh: Fresh) {
        while self.kept.last < serial
            || (fresh == Fresh::Whole && self.lost.last < serial)
            || (fresh == Fresh::Narrower && !self.has_ended)
        {
            let event = socket.event().await;
            self.take(&event);
        }
        assert!(fresh == Fresh::Narrower || !self.has_ended, "{}", self.lost.channel);
    }

    /// Subscribes again on another connection, to what its token allows.
    async fn resume(&mut self, socket: &mut Socket, fresh: Fresh) {
        self.kept.resume(socket).await;
        match fresh {
            Fresh::Whole => self.lost.resume(socket).await,
            Fresh::Narrower => self.has_ended = true,
        }
    }
}

async fn publish_to_both(tenant: &Tenant, both: &Both, count: usize, in_all: u64) {
    for seen in [&both.kept, &both.lost] {
        publish_many(tenant, &seen.channel, count, in_all).await;
    }
}

async fn meet(tenant: &Tenant, how: Meets, fresh: Fresh, at: usize) {
    let [kept, lost] = ["kept", "lost"].map(|name| format!("{name}{at}"));
    let whole = tenant.full_token("ann").await;
    let token = match fresh {
        Fresh::Whole => whole.clone(),
        Fresh::Narrower => tenant.token("ann", json!({&kept: ["subscribe", "history"]})).await,
    };
    let mut socket = Socket::connect(&tenant.url, &whole).await;
    let (kept, lost) = (Seen::from_head(&mut socket, &kept).await, Seen::from_head(&mut socket, &lost).await);
    let mut seen = Both { kept, lost, has_ended: false };
    publish_to_both(tenant, &seen, 3, 3).await;
    seen.up_to(&mut socket, 3, Fresh::Whole).await;
    let end = if how == Meets::InTime { Instant::now() } else { tenant.shorten(&mut socket, "ann").await };
    match how {
        Meets::InTime => {}
        Meets::InGrace => expire(&mut socket).await,
        Meets::AsleepPastTheEnd => asleep_until(end + Duration::from_secs(2)).await,
        Meets::Racing => asleep_until(end - Duration::from_millis(200) + Duration::from_millis(20 * at as u64)).await,
        Meets::TooLate => {
            publish_to_both(tenant, &seen, 5, 8).await;
            let mut events = Vec::new();
            let code = loop {
                match socket.next().await {
                    Received::Json(event) => events.push(event),
                    Received::Close(code, _) => break code,
                    Received::Lost => panic!("the socket is closed with a code"),
                }
            };
            assert_eq!(code, 4110, "{events:?}");
            events.iter().filter(|event| event["op"] == "message").for_each(|event| seen.take(event));
        }
        Meets::Offline => {
            socket.drop_connection();
            publish_to_both(tenant, &seen, 5, 8).await;
            asleep_until(end + Duration::from_secs(1)).await;
            socket = Socket::connect(&tenant.url, &token).await;
            seen.resume(&mut socket, fresh).await;
        }
    }
    if how == Meets::TooLate {
        socket = Socket::connect(&tenant.url, &token).await;
        seen.resume(&mut socket, fresh).await;
    } else if how != Meets::Offline {
        publish_to_both(tenant, &seen, 5, 8).await;
        let ok = socket.ask(refresh(&token)).await;
        assert!(ok["token_ttl_ms"].as_u64() > Some(3_000_000), "{how:?}: {ok}");
    }
    publish_to_both(tenant, &seen, 4, 12).await;
    seen.up_to(&mut socket, 12, fresh).await;
    let kept = json!({"op": "history", "channel": seen.kept.channel, "limit": 1});
    assert_eq!(socket.ask(kept).await["items"][0]["serial"], 12);
    if fresh == Fresh::Narrower {
        let lost = json!({"op": "subscribe", "channel": seen.lost.channel});
        assert_eq!(socket.refused(lost).await, "forbidden", "{how:?}");
        // Whatever else of it had come would stand before this.
        let last = tenant.publish(&seen.kept.channel, json!("last")).await;
        seen.up_to(&mut socket, last, fresh).await;
    }
}

#[tokio::test]
async fn however_a_token_meets_its_end_no_message_is_missed_or_doubled_and_only_what_lost_its_right_ends() {
    // Pings are life to see while a connection waits for its end, which is 30 s after that of its token.
    let server = Server::start(Options::default().env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "8s")).await;
    let tenant = Tenant::sign_up(&server).await;
    let ends = [Meets::InTime, Meets::InGrace, Meets::AsleepPastTheEnd, Meets::TooLate, Meets::Offline];
    let with = |fresh| ends.map(|how| (how, fresh));
    // Those that race are told apart by their number, too.
    let racing = [Fresh::Whole, Fresh::Narrower].into_iter().flat_map(|fresh| [(Meets::Racing, fresh); 5]);
    let table = with(Fresh::Whole).into_iter().chain(racing).chain(with(Fresh::Narrower));
    let cases = table.enumerate().map(|(at, (how, fresh))| meet(&tenant, how, fresh, at));
    futures::future::join_all(cases).await;
}

/// A backlog that does not fit into what is sent at once.
const BACKLOG: usize = 6_000;

#[tokio::test]
async fn a_fresh_token_while_catching_up_costs_nothing_and_a_narrower_one_ends_just_what_it_lost() {
    let (_server, tenant) = start().await;
    for channel in ["kept", "lost"] {
        publish_many(&tenant, channel, BACKLOG, BACKLOG as u64).await;
    }
    let token = tenant.full_token("ann").await;
    let narrow = tenant.token("ann", json!({"kept": ["subscribe"]})).await;
    let epoch = Socket::connect(&tenant.url, &token).await.subscribe("kept").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    for (fresh, loses) in [(&token, false), (&narrow, true)] {
        let mut socket = Socket::open_narrow(&tenant.url).await;
        socket.ask(json!({"op": "connect", "token": token})).await;
        let mut seen: Vec<_> =
            ["kept", "lost"].map(|name| Seen { channel: name.into(), epoch: epoch.clone(), last: 0 }).into();
        for one in &seen {
            one.resume(&mut socket).await;
        }
        let asked = socket.send(refresh(fresh)).await;
        let (mut ended, mut answered) = (false, false);
        while seen[0].last < BACKLOG as u64 || (!loses && seen[1].last < BACKLOG as u64) || !answered || ended != loses
        {
            let Received::Json(event) = socket.next().await else { panic!("the connection stays") };
            if event["id"] == asked {
                assert!(event.get("ok").is_some(), "{event}");
                answered = true;
            } else if event["op"] == "unsubscribed" {
                assert_eq!(
                    (&event["channel"], &event["error"]["code"], loses),
                    (&json!("lost"), &json!("forbidden"), true)
                );
                ended = true;
            } else if event["op"] == "message" {
                assert!(!ended || event["channel"] == "kept", "{event} after its subscription ended");
                seen.iter_mut().for_each(|one| one.take(&event));
            }
        }
        assert_eq!(ended, loses);
        let live = tenant.publish("kept", json!("live")).await;
        seen[0].up_to(&mut socket, live).await;
        if loses {
            assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "lost"})).await, "forbidden");
        }
    }
}

/// A socket that resumes with a token that ends soon, and when; on a slow machine a very short one may end before it is there.
async fn resume_with_short(tenant: &Tenant, seen: &Seen) -> (Socket, Instant) {
    let since = json!({"epoch": seen.epoch, "serial": seen.last});
    for ttl_s in [2_u32, 4, 8, 16] {
        let minted = Instant::now();
        let token = tenant.short_token("ann", every_right(), ttl_s.into());
        let mut socket = Socket::open_narrow(&tenant.url).await;
        let connected = socket.answer(json!({"op": "connect", "token": token})).await;
        if connected.get("ok").is_some() {
            let resume = json!({"op": "subscribe", "channel": seen.channel, "since": since});
            if socket.answer(resume).await["ok"]["resumed"] == true {
                return (socket, minted + Duration::from_secs(ttl_s.into()));
            }
        }
    }
    panic!("no token lived long enough to be taken");
}

#[tokio::test]
async fn a_token_that_ends_while_its_connection_catches_up_holds_the_rest_until_a_fresh_one_comes() {
    let (_server, tenant) = start().await;
    publish_many(&tenant, "room", BACKLOG, BACKLOG as u64).await;
    let token = tenant.full_token("ann").await;
    let epoch = Socket::connect(&tenant.url, &token).await.subscribe("room").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    let mut seen = Seen { channel: "room".into(), epoch, last: 0 };
    let (mut socket, end) = resume_with_short(&tenant, &seen).await;
    // Nothing is read, so that most of it is still to be sent when the token ends.
    asleep_until(end + Duration::from_millis(500)).await;
    let probe = socket.send(json!({"op": "history", "channel": "room", "limit": 1})).await;
    loop {
        let Received::Json(event) = socket.next().await else { panic!("the connection stays") };
        if event["id"] == probe {
            break assert_eq!(event["error"]["code"], "token_expired", "{event}");
        }
        seen.take(&event);
    }
    assert!(seen.last < BACKLOG as u64, "the token ended before all was sent");
    socket.ask(refresh(&token)).await;
    let last = tenant.publish("room", json!("live")).await;
    seen.up_to(&mut socket, last).await;
}

#[tokio::test]
async fn of_several_fresh_tokens_in_flight_the_last_one_stands_and_foreign_ones_change_nothing() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let mut seen = Seen::from_head(&mut socket, "kept").await;
    let (wide, narrow) = (tenant.full_token("ann").await, tenant.token("ann", json!({"kept": ["subscribe"]})).await);
    let foreign = tenant.full_token("bob").await;
    for round in 0..20 {
        let (last, allowed) = if round % 2 == 0 { (&narrow, false) } else { (&wide, true) };
        let first = if allowed { &narrow } else { &wide };
        let asked =
            socket.send_together(vec![refresh(first), refresh(&foreign), refresh("nonsense"), refresh(last)]).await;
        let mut codes = Vec::new();
        for id in asked {
            let answer = socket.answer_to(id).await;
            codes.push(answer["error"]["code"].as_str().unwrap_or("ok").to_owned());
        }
        assert_eq!(codes, ["ok", "token_mismatch", "bad_token", "ok"]);
        let ask = socket.answer(json!({"op": "history", "channel": "other"})).await;
        assert_eq!(ask.get("ok").is_some(), allowed, "{ask}");
        let serial = tenant.publish("kept", json!(round)).await;
        seen.up_to(&mut socket, serial).await;
    }
}
