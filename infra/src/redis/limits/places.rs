//! Quotas of connections: every place is asked for at the registry in Redis, one call of an app at a time, so that none overtakes another.

use std::{fmt, sync::Arc, time::Instant};

use fanfare_domain::{
    ids::AppId,
    limits::{
        ConnectionPermit, Exceeded,
        places::{PLACES_LAST, Places},
    },
};
use tokio::sync::oneshot;

use super::{Call, Node};

/// An app's connections on this node.
#[derive(Default)]
pub(super) struct Connections {
    places: Places,
    limit: u32,
    waiting: Vec<Waiter>,
    is_asking: bool,
    /// What is held has changed since the registry was told.
    is_untold: bool,
}

/// Somebody who waits for a place.
type Waiter = oneshot::Sender<Result<Place, Exceeded>>;

/// What the registry is asked.
struct Question {
    held: u32,
    limit: u32,
    waiting: Vec<Waiter>,
}

/// A place among an app's connections.
pub(super) struct Place {
    app: AppId,
    node: Arc<Node>,
}

impl ConnectionPermit for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.app).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.node.lock();
        let Some(app) = state.apps.get_mut(&self.app) else { return };
        app.connections.places.give_back();
        app.connections.is_untold = true;
        if !app.connections.places.is_alone(Instant::now()) {
            self.node.ask_for(&self.app, &mut app.connections);
        }
    }
}

impl Connections {
    pub fn is_idle(&self, now: Instant) -> bool {
        let is_needed = self.is_asking || !self.waiting.is_empty() || self.places.held() > 0;
        !is_needed && (!self.is_untold || self.places.is_alone(now))
    }
}

impl Node {
    pub async fn connect(self: &Arc<Self>, app: &AppId, limit: u32) -> Result<Place, Exceeded> {
        let place = || Place { app: app.clone(), node: self.clone() };
        let waiting = {
            let mut state = self.lock();
            let nodes = state.nodes;
            let connections = &mut state.apps.entry(app.clone()).or_default().connections;
            connections.limit = limit;
            if connections.places.is_alone(Instant::now()) {
                connections.is_untold = true;
                let is_taken = connections.places.take_alone(limit, nodes);
                return is_taken.then(place).ok_or(Exceeded::connections(limit));
            }
            let (waiter, waiting) = oneshot::channel();
            connections.waiting.push(waiter);
            self.ask_for(app, connections);
            waiting
        };
        waiting.await.unwrap_or(Err(Exceeded::connections(limit)))
    }

    /// Tells the registry about every app that it is to hear of: those whose places changed or that are decided here, and now and then all.
    pub fn tell_places(self: &Arc<Self>, all: bool, now: Instant) {
        for (id, app) in &mut self.lock().apps {
            let connections = &mut app.connections;
            connections.is_untold |= connections.places.held() > 0 && (all || connections.places.is_alone(now));
            if connections.is_untold {
                self.ask_for(id, connections);
            }
        }
    }

    /// Has the registry asked until nobody waits and all is told, unless that is under way. If it does not answer, the next round tries again.
    fn ask_for(self: &Arc<Self>, app: &AppId, connections: &mut Connections) {
        if !std::mem::replace(&mut connections.is_asking, true) {
            let (node, app) = (self.clone(), app.clone());
            self.runtime.spawn(async move {
                let mut is_answered = true;
                while is_answered && let Some(question) = node.next_question(&app) {
                    let answer = node.ask(&node.scripts.places, node.call(&app, &question)).await;
                    is_answered = answer.is_some();
                    for (waiter, place) in node.settle(&app, question, answer) {
                        // A place that nobody waits for any more is given back as it is dropped.
                        let _ = waiter.send(place);
                    }
                }
            });
        }
    }

    fn next_question(&self, app: &AppId) -> Option<Question> {
        let mut state = self.lock();
        let connections = &mut state.apps.get_mut(app)?.connections;
        if connections.waiting.is_empty() && !connections.is_untold {
            connections.is_asking = false;
            return None;
        }
        connections.is_untold = false;
        let waiting = std::mem::take(&mut connections.waiting);
        Some(Question { held: connections.places.held(), limit: connections.limit, waiting })
    }

    fn call(&self, app: &AppId, question: &Question) -> Call {
        Call::on(self.redis.names().connections(app))
            .arg(self.name.as_str())
            .number(self.number())
            .number(question.held.into())
            .number(question.waiting.len() as u64)
            .number(question.limit.into())
            .number(PLACES_LAST.as_millis() as u64)
    }

    /// What each who waited is to hear. Without an answer this node decides, also for those who have come since.
    fn settle(
        self: &Arc<Self>,
        app: &AppId,
        question: Question,
        answer: Option<(u32, u32)>,
    ) -> Vec<(Waiter, Result<Place, Exceeded>)> {
        let mut state = self.lock();
        let nodes = state.nodes;
        let connections = &mut state.apps.entry(app.clone()).or_default().connections;
        let Question { held, limit, mut waiting } = question;
        let is_given: Vec<bool> = match answer {
            Some((given, others)) => {
                connections.places.answered(held, given, others, Instant::now());
                (0..waiting.len()).map(|at| at < given as usize).collect()
            }
            None => {
                connections.places.unanswered();
                (connections.is_untold, connections.is_asking) = (true, false);
                waiting.append(&mut connections.waiting);
                waiting.iter().map(|_| connections.places.take_alone(limit, nodes)).collect()
            }
        };
        let place = |is_given: bool| {
            let place = || Place { app: app.clone(), node: self.clone() };
            is_given.then(place).ok_or(Exceeded::connections(limit))
        };
        waiting.into_iter().zip(is_given.into_iter().map(place)).collect()
    }
}
