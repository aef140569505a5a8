//! The machine in tables: time comes in, effects come out.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    apps::App,
    capabilities::{Capability, Right},
    grants::{Identity, Voucher},
    ids::{KeyId, TenantId},
    plans::Limits,
    pusher::PusherSwitches,
    rules::Rule,
};

const START: Timestamp = Timestamp(1_000_000);

struct Bench {
    session: Session,
    now: Timestamp,
}

fn profile(change: impl FnOnce(&mut AppProfile)) -> Arc<AppProfile> {
    let mut app = App::new(TenantId::generate(), "a".into(), START);
    app.pusher = PusherSwitches { enabled: true, ..PusherSwitches::default() };
    let mut profile =
        AppProfile { app, limits: Limits::default(), rules: HashMap::new(), signers: Vec::new(), webhooks: Vec::new() };
    change(&mut profile);
    Arc::new(profile)
}

fn grant(profile: Arc<AppProfile>, ceiling: Capability) -> Grant {
    Grant::for_tests(profile, Voucher::Key(KeyId::generate()), Identity::Public, Capability::default(), ceiling)
}

impl Bench {
    fn with(version: u32, change: impl FnOnce(&mut AppProfile)) -> Self {
        let session = Session::new(&ConnectionId::generate(), version, &PusherConfig::default(), START);
        let mut bench = Self { session, now: START };
        let effects = bench.apply(Command::Opened(Ok(grant(profile(change), Capability::everything()))));
        assert_eq!(sent(&effects)[0]["event"], "pusher:connection_established");
        bench
    }

    fn open() -> Self {
        Self::with(7, |_| {})
    }

    fn apply(&mut self, command: Command) -> Vec<Effect> {
        self.session.apply(command, self.now)
    }

    fn say(&mut self, event: &str, data: Value) -> Vec<Effect> {
        self.apply(Command::Text(json!({"event": event, "data": data}).to_string()))
    }

    fn subscribe(&mut self, channel: &str, auth: &str, data: Option<&str>) -> Vec<Effect> {
        self.say("pusher:subscribe", json!({"channel": channel, "auth": auth, "channel_data": data}))
    }

    fn join(&mut self, channel: &str, auth: &str, data: Option<&str>) {
        let effects = self.subscribe(channel, auth, data);
        assert!(matches!(&effects[..], [Effect::Join(_)]), "{effects:?}");
        assert!(self.apply(Command::Joined(name(channel), Ok(()))).is_empty());
    }

    fn send(&mut self, channel: &str, event: &str) -> Vec<Effect> {
        self.apply(Command::Text(json!({"event": event, "channel": channel, "data": {"a": 1}}).to_string()))
    }
}

fn name(channel: &str) -> ChannelName {
    PusherChannel::parse(channel).unwrap().name
}

fn sent(effects: &[Effect]) -> Vec<Value> {
    let texts = effects.iter().filter_map(|effect| match effect {
        Effect::Send(text) => Some(serde_json::from_str(text).unwrap()),
        _ => None,
    });
    texts.collect()
}

fn code(effects: &[Effect]) -> u16 {
    match effects.last() {
        Some(Effect::Close(code, _, _)) => code.0,
        other => panic!("it is not closed: {other:?}"),
    }
}

#[test]
fn what_keeps_a_connection_from_opening_is_told_by_its_code() {
    for (refusal, expected) in [
        (Refusal::plain(ErrorCode::BadKey), 4001),
        (Refusal::plain(ErrorCode::NotFound), 4001),
        (Refusal::plain(ErrorCode::AppDisabled), 4003),
        (Refusal::plain(ErrorCode::ConnectionLimit), 4004),
        (Refusal::plain(ErrorCode::OriginNotAllowed), 4009),
        (Refusal::plain(ErrorCode::Unavailable), 4100),
    ] {
        for version in [5, 7] {
            let mut session = Session::new(&ConnectionId::generate(), version, &PusherConfig::default(), START);
            let effects = session.apply(Command::Opened(Err(refusal.clone())), START);
            assert_eq!(code(&effects), expected);
            let told: Vec<_> = sent(&effects).iter().map(|said| said["data"]["code"].clone()).collect();
            assert_eq!(told, if version < 6 { vec![json!(expected)] } else { Vec::new() });
        }
    }
}

#[test]
fn a_channel_is_asked_for_once_and_again_after_it_was_left() {
    let mut bench = Bench::open();
    bench.join("news", "", None);
    assert_eq!(sent(&bench.subscribe("news", "", None))[0]["event"], "pusher:error");
    let left = bench.say("pusher:unsubscribe", json!({"channel": "news"}));
    assert!(matches!(&left[..], [Effect::Part(_, None)]), "{left:?}");
    assert!(bench.say("pusher:unsubscribe", json!({"channel": "news"})).is_empty());
    bench.join("news", "", None);
}

#[test]
fn who_changes_its_mind_while_a_channel_is_looked_up_is_out_of_it_or_in_it_again() {
    let mut bench = Bench::open();
    let data = Some(r#"{"user_id":7}"#);
    assert!(matches!(&bench.subscribe("presence-a", "k:s", data)[..], [Effect::Join(_)]));
    assert!(bench.say("pusher:unsubscribe", json!({"channel": "presence-a"})).is_empty());
    assert!(bench.subscribe("presence-a", "k:s", Some(r#"{"user_id":"8"}"#)).is_empty());
    let effects = bench.apply(Command::Joined(name("presence-a"), Ok(())));
    let [Effect::Part(_, Some(left)), Effect::Join(join)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((left.client.as_str(), join.member.as_ref().unwrap().client.as_str()), ("7", "8"));
    bench.apply(Command::Joined(name("presence-a"), Ok(())));
    assert_eq!(bench.session.memberships().map(|(_, member)| member.client.as_str()).collect::<Vec<_>>(), ["8"]);
}

#[test]
fn what_cannot_be_subscribed_is_refused_with_the_reason() {
    let mut bench = Bench::with(7, |profile| profile.limits.channels_per_connection = 3);
    for (channel, auth, data, kind) in [
        ("a b", "", None, "InvalidRequest"),
        ("private-a", "", None, "AuthError"),
        ("private-encrypted-a", "", None, "AuthError"),
        ("private-cache-a", "", None, "AuthError"),
        ("presence-cache-a", "", Some(r#"{"user_id":"1"}"#), "AuthError"),
        ("presence-a", "k:s", None, "AuthError"),
        ("presence-a", "k:s", Some("{}"), "InvalidRequest"),
        ("presence-a", "k:s", Some(r#"{"user_id":{}}"#), "InvalidRequest"),
        ("presence-a", "k:s", Some(r#"{"user_id":""}"#), "InvalidRequest"),
        ("#server-to-user-ann", "", None, "AuthError"),
    ] {
        let said = sent(&bench.subscribe(channel, auth, data)).remove(0);
        let told: Value = serde_json::from_str(said["data"].as_str().unwrap()).unwrap();
        assert_eq!((&said["event"], &said["channel"]), (&json!("pusher:subscription_error"), &json!(channel)));
        assert_eq!(told["type"], kind, "{channel} {told}");
    }
    for fits in ["a", "b", "c"] {
        bench.join(fits, "", None);
    }
    let said = sent(&bench.subscribe("d", "", None)).remove(0);
    assert!(said["data"].as_str().unwrap().contains("LimitReached"), "{said}");
}

#[test]
fn a_members_info_has_its_bound() {
    let data = |bytes: usize| format!(r#"{{"user_id":"a","user_info":"{}"}}"#, "x".repeat(bytes - 2));
    let mut bench = Bench::open();
    let refused = sent(&bench.subscribe("presence-a", "k:s", Some(&data(1_025))));
    assert_eq!(refused[0]["event"], "pusher:subscription_error");
    bench.join("presence-a", "k:s", Some(&data(1_024)));
}

#[test]
fn a_key_opens_no_more_than_it_may() {
    let mut session = Session::new(&ConnectionId::generate(), 7, &PusherConfig::default(), START);
    let rights = [Right::Subscribe].into_iter().collect();
    let ceiling = Capability::new([("news".to_owned(), rights)].into()).unwrap();
    session.apply(Command::Opened(Ok(grant(profile(|_| {}), ceiling))), START);
    let mut bench = Bench { session, now: START };
    bench.join("news", "", None);
    assert!(sent(&bench.subscribe("other", "", None))[0]["data"].as_str().unwrap().contains("AuthError"));
}

#[test]
fn client_events_go_to_channels_that_are_subscribed_ten_a_second() {
    let mut bench = Bench::open();
    bench.join("private-a", "k:s", None);
    bench.join("news", "", None);
    for (channel, event) in
        [("news", "client-x"), ("private-b", "client-x"), ("private-a", "x"), ("private-a", "pusher:x")]
    {
        let said = sent(&bench.send(channel, event));
        assert_eq!(said[0]["event"], "pusher:error", "{channel} {event}");
    }
    for _ in 0..10 {
        assert!(matches!(&bench.send("private-a", "client-x")[..], [Effect::Relay(_)]));
    }
    assert_eq!(sent(&bench.send("private-a", "client-x"))[0]["data"]["code"], 4301);
    bench.now = START.after(Duration::from_secs(1));
    assert!(matches!(&bench.send("private-a", "client-x")[..], [Effect::Relay(_)]));
}

#[test]
fn client_events_have_their_bounds_and_their_switch() {
    let mut bench = Bench::open();
    bench.join("private-a", "k:s", None);
    let of = |bytes: usize| {
        let data = "x".repeat(bytes - 2);
        json!({"event": "client-x", "channel": "private-a", "data": data}).to_string()
    };
    assert!(matches!(&bench.apply(Command::Text(of(MAX_EVENT_BYTES)))[..], [Effect::Relay(_)]));
    assert_eq!(sent(&bench.apply(Command::Text(of(MAX_EVENT_BYTES + 1))))[0]["data"]["code"], 4301);
    let named = |length: usize| format!("client-{}", "x".repeat(length - 7));
    assert!(matches!(&bench.send("private-a", &named(200))[..], [Effect::Relay(_)]));
    assert_eq!(sent(&bench.send("private-a", &named(201)))[0]["data"]["code"], 4301);
    let off = profile(|profile| profile.app.pusher.client_events = false);
    bench.apply(Command::AppChanged(Ok(off)));
    assert_eq!(sent(&bench.send("private-a", "client-x"))[0]["data"]["code"], 4301);
}

#[test]
fn a_member_that_sends_is_named_on_its_channel() {
    let mut bench = Bench::open();
    bench.join("presence-a", "k:s", Some(r#"{"user_id":"ann"}"#));
    let effects = bench.send("presence-a", "client-x");
    let [Effect::Relay(event)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(event.client.as_ref().map(ClientName::as_str), Some("ann"));
    assert_eq!(event.data.get(), r#"{"a":1}"#);
}

#[test]
fn a_connection_is_one_user_from_its_sign_in_on() {
    let mut bench = Bench::open();
    let data = |id: &str| json!({"auth": "k:s", "user_data": json!({"id": id, "user_info": {"n": 1}}).to_string()});
    let effects = bench.say("pusher:signin", data("ann"));
    let [Effect::SignIn(sign_in)] = &effects[..] else { panic!("{effects:?}") };
    let user = sign_in.user.clone();
    assert_eq!(sent(&bench.say("pusher:signin", data("ann")))[0]["event"], "pusher:error", "one at a time");
    let said = sent(&bench.apply(Command::SignedIn(Box::new(user), Ok(()))));
    assert_eq!(said[0]["event"], "pusher:signin_success");
    assert_eq!(sent(&bench.say("pusher:signin", data("bob")))[0]["data"]["code"], 4009);
    bench.join("#server-to-user-ann", "", None);
    assert_eq!(sent(&bench.subscribe("#server-to-user-bob", "", None))[0]["event"], "pusher:subscription_error");
    // A member without `channel_data` is the user.
    bench.join("presence-a", "k:s", None);
    assert_eq!(bench.session.memberships().next().unwrap().1.client.as_str(), "ann");
    for bad in [json!({"id": ""}), json!({"id": 7}), json!({}), json!({"id": "a b"})] {
        let said = bench.say("pusher:signin", json!({"auth": "k:s", "user_data": bad.to_string()}));
        assert_eq!(sent(&said)[0]["event"], "pusher:error", "{bad}");
    }
}

#[test]
fn a_watchlist_has_a_hundred_users() {
    for (wanted, told) in [(100, 0), (101, 1)] {
        let mut bench = Bench::open();
        let watchlist: Vec<_> = (0..wanted).map(|user| format!("user{user}")).collect();
        let data = json!({"auth": "k:s", "user_data": json!({"id": "ann", "watchlist": watchlist}).to_string()});
        let effects = bench.say("pusher:signin", data);
        assert_eq!(sent(&effects).len(), told);
        let Some(Effect::SignIn(sign_in)) = effects.last() else { panic!("{effects:?}") };
        let effects = bench.apply(Command::SignedIn(Box::new(sign_in.user.clone()), Ok(())));
        assert!(matches!(&effects[1], Effect::Watch(users) if users.len() == 100), "{effects:?}");
    }
}

#[test]
fn who_is_silent_is_pinged_and_then_closed() {
    let mut bench = Bench::open();
    let tick = |bench: &mut Bench| {
        bench.now = bench.session.deadline().unwrap();
        bench.apply(Command::Tick)
    };
    assert_eq!(sent(&tick(&mut bench))[0]["event"], "pusher:ping");
    assert_eq!(bench.now, START.after(Duration::from_secs(120)));
    bench.say("pusher:pong", json!({}));
    assert_eq!(sent(&tick(&mut bench))[0]["event"], "pusher:ping");
    bench.apply(Command::Heard);
    assert_eq!(sent(&tick(&mut bench))[0]["event"], "pusher:ping");
    assert_eq!(code(&tick(&mut bench)), 4201);
    assert!(bench.session.deadline().is_none() && bench.session.is_closed());
}

#[test]
fn a_draining_node_serves_until_its_time_and_lets_nobody_seem_to_leave() {
    let mut bench = Bench::open();
    bench.join("presence-a", "k:s", Some(r#"{"user_id":"ann"}"#));
    assert!(bench.apply(Command::Drain { after: Duration::from_secs(3) }).is_empty());
    assert!(bench.apply(Command::Drain { after: Duration::from_secs(9) }).is_empty(), "it never becomes later");
    bench.now = START.after(Duration::from_secs(3));
    let effects = bench.apply(Command::Tick);
    assert_eq!((effects.len(), code(&effects)), (1, 4200));
    let mut bench = Bench::open();
    bench.join("presence-a", "k:s", Some(r#"{"user_id":"ann"}"#));
    let effects = bench.apply(Command::End(Refusal::plain(ErrorCode::AppDisabled)));
    assert!(matches!(&effects[..], [Effect::Part(_, Some(_)), Effect::Close(CloseCode::APP_DISABLED, _, _)]));
}

#[test]
fn an_app_that_wants_it_closes_who_does_not_prove_itself_in_time() {
    let wants = |profile: &mut AppProfile| profile.app.pusher.authorized_connections = true;
    let mut bench = Bench::with(7, wants);
    bench.join("news", "", None);
    bench.now = bench.session.deadline().unwrap();
    assert_eq!(bench.now, START.after(Duration::from_secs(30)));
    assert_eq!(code(&bench.apply(Command::Tick)), 4009);
    let mut bench = Bench::with(7, wants);
    bench.join("private-a", "k:s", None);
    bench.now = START.after(Duration::from_secs(30));
    assert!(bench.apply(Command::Tick).is_empty());
}

#[test]
fn what_an_app_no_longer_allows_ends() {
    let mut bench = Bench::open();
    bench.join("presence-a", "k:s", Some(r#"{"user_id":"ann"}"#));
    bench.join("news", "", None);
    let off = profile(|profile| {
        profile.rules.insert("_default".into(), Rule { presence: false, ..Rule::default() });
    });
    let effects = bench.apply(Command::AppChanged(Ok(off)));
    assert!(matches!(&effects[..], [Effect::Send(_), Effect::Part(_, Some(_))]), "{effects:?}");
    let off = profile(|profile| profile.app.pusher.enabled = false);
    assert_eq!(code(&bench.apply(Command::AppChanged(Ok(off)))), 4001);
}

#[test]
fn nonsense_is_answered_and_changes_nothing() {
    let mut bench = Bench::open();
    for text in ["", "{}", "[]", "{\"event\":1}", "{\"event\":\"pusher:subscribe\"}", "{\"event\":\"pusher:what\"}"] {
        assert_eq!(sent(&bench.apply(Command::Text(text.into())))[0]["event"], "pusher:error", "{text}");
    }
    assert_eq!(sent(&bench.apply(Command::Binary))[0]["event"], "pusher:error");
    assert_eq!(sent(&bench.say("pusher:ping", json!({})))[0]["event"], "pusher:pong");
}
