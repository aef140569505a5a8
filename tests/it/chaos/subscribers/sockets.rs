//! A subscriber's socket.

use serde_json::json;

use super::{Begun, Got, Lost};
use crate::chaos::links::Link;

/// One connection's life; it is over well when everything has come.
pub async fn once(got: &mut Got, epochs: &mut [Option<String>], gateway: usize, begun: &mut Begun) -> Result<(), Lost> {
    let gateway = got.stage.gateway(gateway).to_owned();
    let mut link = Link::connect(&gateway, &got.stage.token).await?;
    for (at, epoch) in epochs.iter_mut().enumerate() {
        subscribe(got, &mut link, at, epoch).await?;
    }
    drop(begun.take());
    let mut phase = got.stage.phase.subscribe();
    loop {
        if got.has_all(&phase.borrow_and_update()) {
            return Ok(());
        }
        tokio::select! {
            event = link.event() => got.take(&event?)?,
            _ = phase.changed() => {}
        }
    }
}

async fn subscribe(got: &Got, link: &mut Link, at: usize, epoch: &mut Option<String>) -> Result<(), Lost> {
    let mut request = json!({"op": "subscribe", "channel": got.stage.channels[at]});
    if let Some(epoch) = &epoch {
        request["since"] = json!({"epoch": epoch, "serial": got.delivered[at].len()});
    }
    let ok = link.ask(request.clone()).await?;
    if epoch.is_some() && ok["resumed"] != true {
        return Err(Lost::Refused(format!("{request} was not resumed: {ok}")));
    }
    epoch.get_or_insert_with(|| ok["epoch"].as_str().unwrap_or_default().to_owned());
    Ok(())
}
