//! Publishers: one message after the other, each tried under its key until it is answered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    checker::{Answer, Caller, Publish},
    links::{Link, Lost},
    stage::{Phase, Stage, pass},
};

/// Between two publishes of one publisher.
const PACE: Duration = Duration::from_millis(80);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// A node may take 5 s to find that the queue does not confirm.
const PATIENCE: Duration = Duration::from_secs(8);

/// What came of one try.
enum Tried {
    Answered(Answer),
    Again,
    Wrong(String),
}

/// Publishes from the begin of the run to its end: every third publisher by socket, the others over REST.
pub async fn publish(stage: Arc<Stage>, number: usize) -> Caller {
    let mut caller = Caller { name: format!("publisher {number}"), publishes: Vec::new() };
    let mut socket = None;
    let by_socket = number % 3 == 2;
    let mut phase = stage.phase.subscribe();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let _ = phase.wait_for(|phase| !matches!(phase, Phase::Before)).await;
    for n in 0.. {
        ticks.tick().await;
        if !matches!(*phase.borrow(), Phase::During) {
            break;
        }
        let channel = &stage.channels[(number + n) % stage.channels.len()];
        let data = json!({"by": number, "n": n, "stamp": stage.stamp()});
        let ack = if n % 4 == 0 { "persisted" } else { "accepted" };
        let request = json!({"data": data, "idempotency_key": format!("{number}-{n}")});
        let at = caller.publishes.len();
        caller.publishes.push(Publish { channel: channel.clone(), payload: data.to_string(), answer: None });
        for attempt in 0.. {
            let tried = if by_socket {
                by_link(&stage, &mut socket, number + attempt, channel, ack, request.clone()).await
            } else {
                over_rest(&stage, &stage.apis[(number + n + attempt) % stage.apis.len()], channel, ack, &request).await
            };
            match tried {
                Tried::Answered(answer) => {
                    caller.publishes[at].answer = Some(answer);
                    stage.accepted.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Tried::Again => pass(PAUSE).await,
                Tried::Wrong(what) => {
                    stage.complain(what);
                    return caller;
                }
            }
            if matches!(*phase.borrow(), Phase::Over(_)) || stage.complaint().is_some() {
                return caller;
            }
        }
    }
    caller
}

async fn over_rest(stage: &Stage, url: &str, channel: &str, ack: &str, body: &Value) -> Tried {
    let tenant = stage.tenant.at(url);
    let request = tenant.request(Method::POST, &format!("/v1/channels/{channel}/messages?ack={ack}"));
    let request = request.bearer_auth(tenant.credential()).json(body).timeout(PATIENCE);
    let Ok(response) = request.send().await else { return Tried::Again };
    let status = response.status();
    let Ok(text) = response.text().await else { return Tried::Again };
    match status.as_u16() {
        200..300 => answer(&serde_json::from_str(&text).unwrap_or_default()),
        // 408: the node was stopped while the request arrived, and knows nothing of it.
        408 | 503 => Tried::Again,
        _ => Tried::Wrong(format!("a publish of {body} was answered {status}: {text}")),
    }
}

async fn by_link(
    stage: &Stage,
    link: &mut Option<Link>,
    gateway: usize,
    channel: &str,
    ack: &str,
    mut request: Value,
) -> Tried {
    if link.is_none() {
        match Link::connect(&stage.gateways[gateway % stage.gateways.len()], &stage.token).await {
            Ok(connected) => *link = Some(connected),
            Err(Lost::Away) => return Tried::Again,
            Err(Lost::Refused(what)) => return Tried::Wrong(what),
        }
    }
    request["op"] = json!("publish");
    request["channel"] = json!(channel);
    request["ack"] = json!(ack);
    match link.as_mut().expect("it is connected").ask(request).await {
        Ok(ok) => answer(&ok),
        Err(lost) => {
            *link = None;
            match lost {
                Lost::Away => Tried::Again,
                Lost::Refused(what) => Tried::Wrong(what),
            }
        }
    }
}

fn answer(ok: &Value) -> Tried {
    match ok["message"].as_str() {
        Some(id) => Tried::Answered(Answer { id: id.to_owned(), serial: ok["serial"].as_u64() }),
        None => Tried::Wrong(format!("an accepted publish has no id: {ok}")),
    }
}
