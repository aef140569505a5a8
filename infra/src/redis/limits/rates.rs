//! Rates: each node takes by its own shares, and tells the allotters in Redis what it took.

use std::{num::NonZeroU32, sync::Arc, time::Instant};

use fanfare_domain::{
    ids::AppId,
    limits::{
        Exceeded, Quota, Rate,
        allotments::{Grant, Report, SHARE_LASTS},
        shares::Share,
    },
    plans::Limits,
};

use super::{Call, Node};

/// A share, and whether the answer to a report of it is awaited.
pub(super) struct Rated {
    share: Share,
    is_asking: bool,
}

impl Rated {
    /// A report, unless the last one is still under way.
    fn report(&mut self, now: Instant) -> Option<Report> {
        (!std::mem::replace(&mut self.is_asking, true)).then(|| self.share.report(now))
    }

    pub fn is_idle(&mut self, now: Instant) -> bool {
        !self.is_asking && self.share.is_idle(now)
    }
}

impl Node {
    /// Takes by this node's share. The first time, that is reported at once.
    pub fn take(
        self: &Arc<Self>,
        app: &AppId,
        rate: Rate,
        limits: &Limits,
        count: NonZeroU32,
    ) -> Result<Quota, Exceeded> {
        let (now, allowed) = (Instant::now(), rate.allowed(limits));
        let mut state = self.lock();
        let nodes = state.nodes;
        let fresh = || Rated { share: Share::new(allowed, nodes, now), is_asking: false };
        let rated = state.apps.entry(app.clone()).or_default().rate(rate).get_or_insert_with(fresh);
        rated.share.change(allowed, now);
        let taken = rated.share.take(count, now);
        if rated.share.is_unreported()
            && let Some(report) = rated.report(now)
        {
            self.tell_rate(app.clone(), rate, report);
        }
        taken
    }

    /// Reports every share whose time has come.
    pub fn tell_rates(self: &Arc<Self>, now: Instant) {
        for (id, app) in &mut self.lock().apps {
            for rate in [Rate::Publishes, Rate::HistoryReads] {
                let due = app.rate(rate).as_mut().filter(|rated| rated.share.is_due(now));
                if let Some(report) = due.and_then(|rated| rated.report(now)) {
                    self.tell_rate(id.clone(), rate, report);
                }
            }
        }
    }

    fn tell_rate(self: &Arc<Self>, app: AppId, rate: Rate, report: Report) {
        let node = self.clone();
        self.runtime.spawn(async move {
            let answer = node.ask(&node.scripts.allot, call(&node, &app, rate, &report)).await;
            let mut state = node.lock();
            let Some(rated) = state.apps.get_mut(&app).and_then(|app| app.rate(rate).as_mut()) else { return };
            rated.is_asking = false;
            if let Some((share_milli, level_milli, nodes)) = answer {
                rated.share.granted(&Grant { share_milli, level_milli, nodes }, Instant::now());
            }
        });
    }
}

fn call(node: &Node, app: &AppId, rate: Rate, report: &Report) -> Call {
    let names = node.redis.names();
    let key = match rate {
        Rate::Publishes => names.publishes(app),
        Rate::HistoryReads => names.history_reads(app),
    };
    Call::on(key)
        .arg(node.name.as_str())
        .number(report.allowed.per_s.into())
        .number(report.allowed.burst.into())
        .number(report.demand_milli)
        .number(report.taken)
        .number(report.uncharged)
        .arg(report.level_milli.to_string())
        .number(SHARE_LASTS.as_millis() as u64)
}
