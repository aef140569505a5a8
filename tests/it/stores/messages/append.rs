//! Appending.

use fanfare_domain::{
    Timestamp,
    apps::App,
    history::Appended,
    ids::{AppId, TenantId},
};
use fanfare_protocol::{ClientName, EventName, Serial, requests::Range};

use super::{Log, a_day, append_one, page, serials};
use crate::stores::samples::{NOW, at, channel, headers, message, new_app};

pub async fn serials_count_from_one_in_every_channel(log: &impl Log) {
    let (app, other) = (new_app(log).await, new_app(log).await);
    let batch = [message(&app, "a", "1"), message(&app, "b", "1"), message(&app, "a", "2"), message(&other, "a", "1")];
    let stored = |app: &App, serial| Appended::Stored { epoch: app.epoch.clone(), serial: Serial(serial), time: NOW };
    let first = log.append(None, &batch).await.unwrap();
    assert_eq!(first, [stored(&app, 1), stored(&app, 1), stored(&app, 2), stored(&other, 1)]);
    assert_eq!(append_one(log, message(&app, "a", "3")).await, 3);
    let head = log.head(&app.id, &channel("a")).await.unwrap().unwrap();
    assert_eq!((head.epoch, head.serial), (app.epoch, Serial(3)));
}

pub async fn a_message_comes_back_as_it_went_in(log: &impl Log) {
    let app = new_app(log).await;
    let mut full = message(&app, "a", r#"{"text":"hej å 🙂","n":1.0,"escaped":"\u0000"}"#);
    full.message.name = Some(EventName::parse("said").unwrap());
    full.message.client = Some(ClientName::parse("ann ö").unwrap());
    full.message.headers = Some(headers(&[("trace", "1"), ("språk", "sv")]));
    let bare = message(&app, "a", "null");
    log.append(None, &[full.clone(), bare.clone()]).await.unwrap();
    let items = page(log, &app, "a", Range::After(Serial(0)), 10, a_day()).await.items;
    let texts = |accepted: &fanfare_domain::messages::Message| {
        serde_json::to_string(&accepted.to_item(&fanfare_protocol::ChannelName::parse("a").unwrap(), None)).unwrap()
    };
    assert_eq!(texts(&items[0].1), texts(&full.message));
    assert_eq!(texts(&items[1].1), texts(&bare.message));
}

pub async fn an_app_that_is_gone_takes_nothing(log: &impl Log) {
    let app = new_app(log).await;
    let gone = App { id: AppId::generate(), ..App::new(TenantId::generate(), "gone".to_owned(), NOW) };
    let batch = [message(&gone, "a", "1"), message(&app, "a", "1"), message(&gone, "a", "2")];
    let outcomes = log.append(None, &batch).await.unwrap();
    assert_eq!((&outcomes[0], &outcomes[2]), (&Appended::NoApp, &Appended::NoApp));
    assert!(matches!(outcomes[1], Appended::Stored { serial: Serial(1), .. }));
    assert_eq!(log.head(&gone.id, &channel("a")).await.unwrap(), None);
    assert!(log.read(&gone.id, &channel("a"), Range::Newest, 10, a_day()).await.unwrap().is_none());
    assert_eq!(log.append(None, &[]).await.unwrap(), []);
}

pub async fn time_never_goes_back_within_a_channel(log: &impl Log) {
    let app = new_app(log).await;
    let (early, late) = (Timestamp(NOW.0 - 50), Timestamp(NOW.0 - 10));
    let batch =
        [at(message(&app, "a", "1"), late), at(message(&app, "a", "2"), early), at(message(&app, "b", "1"), early)];
    log.append(None, &batch).await.unwrap();
    append_one(log, at(message(&app, "a", "3"), early)).await;
    let times = async |name| -> Vec<_> {
        let page = page(log, &app, name, Range::After(Serial(0)), 10, a_day()).await;
        page.items.into_iter().map(|(_, message)| message.time).collect()
    };
    assert_eq!(times("a").await, [late, late, late]);
    assert_eq!(times("b").await, [early]);
}

pub async fn a_batch_of_a_thousand_is_one_append(log: &impl Log) {
    let app = new_app(log).await;
    let batch: Vec<_> =
        (0..1_000).map(|number| message(&app, &format!("c{}", number % 7), &number.to_string())).collect();
    assert_eq!(log.append(None, &batch).await.unwrap().len(), 1_000);
    let page = page(log, &app, "c0", Range::After(Serial(0)), 1_000, a_day()).await;
    assert_eq!(serials(&page), (1..=143).collect::<Vec<_>>());
    assert_eq!(page.items[142].1.data.get(), "994");
}

pub async fn appends_at_the_same_time_share_no_serial(log: &impl Log) {
    let app = new_app(log).await;
    let writers = (0..8).map(|writer| {
        let (log, app) = (log.clone(), app.clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let (one, other) = if writer % 2 == 0 { ("a", "b") } else { ("b", "a") };
                let data = format!("[{writer},{round}]");
                log.append(None, &[message(&app, one, &data), message(&app, other, &data)]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for name in ["a", "b"] {
        let page = page(log, &app, name, Range::After(Serial(0)), 1_000, a_day()).await;
        assert_eq!(serials(&page), (1..=80).collect::<Vec<_>>());
        let mut data: Vec<_> = page.items.iter().map(|(_, message)| message.data.get().to_owned()).collect();
        data.sort();
        data.dedup();
        assert_eq!(data.len(), 80);
    }
}
