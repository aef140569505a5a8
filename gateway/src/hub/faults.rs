//! Faults that were made on purpose, as one thread suffers them.

use std::rc::Rc;

use fanfare_domain::connections::Command;
use tokio::{sync::broadcast::error::RecvError, time::sleep_until};

use super::{Hub, tell};
use crate::faults::Shot;

/// Does what is told until the process ends; where no faults can be made, nothing.
pub(super) async fn suffer(hub: Rc<Hub>) {
    let Some(mut shots) = hub.gateway.faults().map(|faults| faults.shots()) else { return };
    loop {
        match shots.recv().await {
            Ok(Shot::Cut) => hub.cut_all(),
            Ok(Shot::Expire(after)) => {
                for address in hub.addresses(|_| true) {
                    actix_rt::spawn(async move { tell(&address, Command::Expire { after }).await });
                }
            }
            Ok(Shot::Wake(at)) => {
                let hub = Rc::clone(&hub);
                actix_rt::spawn(async move {
                    sleep_until(at.into()).await;
                    hub.sockets.borrow().values().for_each(|socket| socket.outbox.go_on());
                });
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

impl Hub {
    fn cut_all(&self) {
        let outboxes: Vec<_> = self.sockets.borrow().values().map(|socket| socket.outbox.clone()).collect();
        outboxes.iter().for_each(|outbox| outbox.cut());
    }
}
