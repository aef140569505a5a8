//! The pieces that every message or request passes through, each by itself: `cargo bench --bench hot`.

use std::{cell::Cell, collections::HashMap, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_domain::{
    Timestamp,
    apps::App,
    capabilities::Capability,
    connections::{Command, Connection, ConnectionConfig, Effect},
    cursors::Cursors,
    directory::AppProfile,
    grants::{ClientIdentity, Grant, Identity, Voucher},
    ids::{AppId, ConnectionId, KeyId, MessageId, TenantId},
    messages::{Envelope, Message},
    plans::Limits,
    publishing::Receipt,
};
use fanfare_gateway::FanOut;
use fanfare_protocol::{ChannelName, Epoch, Position, Serial, events::message_text, websocket::text_frame};
use serde_json::value::RawValue;

const NOW: Timestamp = Timestamp(1_000_000);
const SUBSCRIBERS: usize = 1_000;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a name")
}

/// A message whose data is 128 bytes of JSON.
fn envelope(serial: u64) -> Envelope {
    let data = RawValue::from_string(format!("\"{}\"", "x".repeat(126))).expect("JSON");
    let message = Message { id: MessageId::generate(), time: NOW, name: None, client: None, headers: None, data };
    let place = Some((Epoch::new("e1"), Serial(serial)));
    Envelope {
        app: AppId::parse("app_a").expect("an id"),
        channel: channel("news"),
        place,
        exclude: None,
        trace: None,
        message,
    }
}

/// From a message to the frame that everyone is sent.
fn frame_encode(criterion: &mut Criterion) {
    let Envelope { channel, place, message, .. } = envelope(1);
    let serial = place.map(|(_, serial)| serial);
    criterion.bench_function("frame encode, 128 B", |bencher| {
        bencher.iter(|| text_frame(message_text(&black_box(&message).to_item(&channel, serial)).as_bytes()));
    });
}

fn grant() -> Grant {
    let app = App { id: AppId::parse("app_a").expect("an id"), ..App::new(TenantId::generate(), "a".into(), NOW) };
    let profile =
        AppProfile { app, limits: Limits::default(), rules: HashMap::new(), signers: Vec::new(), webhooks: Vec::new() };
    let client = ClientIdentity { client: None, info: None, token_id: None };
    let voucher = Voucher::Key(KeyId::parse("fk_a").expect("an id"));
    let everything = Capability::everything();
    Grant::for_tests(Arc::new(profile), voucher, Identity::Client(client), everything.clone(), everything)
}

/// A publish of a connected client, from its text to the answer that it is sent.
fn session_apply(criterion: &mut Criterion) {
    let mut connection = Connection::new(ConnectionId::generate(), &ConnectionConfig::default(), None, NOW);
    connection.apply(Command::Text(r#"{"id":1,"op":"connect","token":"t"}"#.to_owned()), NOW);
    connection.apply(Command::Authenticated(Ok(grant())), NOW);
    let mut id = 1;
    criterion.bench_function("session apply, a publish and its answer", |bencher| {
        let text = |id: &mut u32| {
            *id += 1;
            (*id, format!(r#"{{"id":{id},"op":"publish","channel":"news","data":{{"n":1}}}}"#))
        };
        bencher.iter_batched(
            || text(&mut id),
            |(id, text)| {
                let wanted = connection.apply(Command::Text(text), NOW);
                let [Effect::Publish { .. }] = wanted.as_slice() else { panic!("it is to be published: {wanted:?}") };
                let receipt = Receipt { id: MessageId::parse("msg_a").expect("an id"), place: None };
                connection.apply(Command::Published { id, with_place: false, outcome: Ok(receipt) }, NOW)
            },
            BatchSize::SmallInput,
        );
    });
}

/// A message from the bus into the outboxes of 1,000 subscribers, and out of them again.
fn hub_push(criterion: &mut Criterion) {
    let Envelope { app, channel, .. } = envelope(1);
    let fan_out = FanOut::new(app, channel, SUBSCRIBERS);
    let serial = Cell::new(0);
    let next = || {
        serial.set(serial.get() + 1);
        Arc::new(envelope(serial.get()))
    };
    let mut group = criterion.benchmark_group("hub push");
    group.throughput(Throughput::Elements(SUBSCRIBERS as u64));
    group.bench_function("1,000 subscribers, 128 B", |bencher| {
        bencher.iter_batched(
            next,
            |envelope| {
                assert_eq!(fan_out.hand(envelope), SUBSCRIBERS as u64);
                fan_out.write()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A cursor of ten channels, made and read again.
fn cursor(criterion: &mut Criterion) {
    let channels: Vec<_> = (0..10).map(|number| channel(&format!("room:{number}"))).collect();
    let positions = vec![Position { epoch: Epoch::new("e1"), serial: Serial(1_000) }; channels.len()];
    let cursors = Cursors::new(&[7; 32], None);
    let scope = cursors.scope(&AppId::parse("app_a").expect("an id"), &channels);
    criterion.bench_function("cursor seal, 10 channels", |bencher| bencher.iter(|| scope.seal(black_box(&positions))));
    let text = scope.seal(&positions);
    criterion.bench_function("cursor open, 10 channels", |bencher| {
        bencher.iter(|| scope.open(black_box(&text)).expect("it is ours"));
    });
}

criterion_group!(hot, frame_encode, session_apply, hub_push, cursor);
criterion_main!(hot);
