//! Telling Redis what a node counts: one pipeline after the other, each with everything that changed during the last.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use fanfare_domain::{
    metrics::Metric,
    occupancy::{ALIVE_EVERY, COUNTS_LAST, Word},
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Node, field, sweeping::Turn};
use crate::redis::{Call, RedisFault, links::Life, urls};

/// Channels that are told in one pipeline.
const CHANNELS_AT_ONCE: usize = 1_000;
/// How soon telling is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked whether a connection was made anew.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often everything is told again, so that Redis forgets only what nobody tells any more.
const TOLD_AGAIN_EVERY: Duration = Duration::from_secs(3_600);
/// When Redis forgets what nobody tells any more.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(3 * 3_600);
/// How often names of channels that are no longer occupied are looked for.
const SWEPT_EVERY: Duration = Duration::from_secs(5);

type Lives = Vec<(urls::Node, Life)>;

/// A generation of a node's counts.
struct Generation {
    number: u64,
    /// Whether all of it was told once, so that it is counted.
    is_counted: bool,
    alive_at: Instant,
    /// The connections by which it is told.
    lives: Lives,
}

/// Why a generation is over.
enum Over {
    Fault(RedisFault),
    /// Redis may have forgotten it.
    Forgotten,
}

impl From<RedisFault> for Over {
    fn from(fault: RedisFault) -> Self {
        Self::Fault(fault)
    }
}

/// Tells for ever, one generation after the other, from the first change on.
pub(super) async fn tell(node: Arc<Node>) {
    node.changed.notified().await;
    let (mut number, mut is_known_to_fail) = (0, false);
    while !node.has_ended.load(Ordering::SeqCst) {
        number += 1;
        let over = tokio::select! {
            over = node.tell_generation(number, &mut is_known_to_fail) => over,
            () = node.ended.notified() => return,
        };
        if let Over::Fault(fault) = over {
            if !std::mem::replace(&mut is_known_to_fail, true) {
                warn!(error = %fault, "Subscriptions cannot be counted for now");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Node {
    async fn tell_generation(&self, number: u64, is_known_to_fail: &mut bool) -> Over {
        match self.begin(number).await {
            Ok(mut generation) => {
                Metric::OccupancyRetold.add(1);
                if std::mem::take(is_known_to_fail) {
                    info!("Subscriptions are counted again");
                }
                self.go_on(&mut generation).await
            }
            Err(over) => over,
        }
    }

    /// Tells everything, and has it counted.
    async fn begin(&self, number: u64) -> Result<Generation, Over> {
        // Known before anything is told: a connection that is made anew meanwhile is noticed.
        let lives = self.redis.layout().await?.lives().await?;
        let mut generation = Generation { number, is_counted: false, alive_at: Instant::now(), lives };
        self.book().tell_anew();
        self.say_alive(&mut generation).await?;
        self.tell_all(&mut generation).await?;
        generation.is_counted = true;
        self.say_alive(&mut generation).await?;
        Ok(generation)
    }

    async fn go_on(&self, generation: &mut Generation) -> Over {
        let mut due = interval(LOOK_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told_again_at, mut swept_at, mut turn) = (Instant::now(), Instant::now(), Turn::default());
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                _ = due.tick() => {}
            }
            if told_again_at.elapsed() >= TOLD_AGAIN_EVERY {
                told_again_at = Instant::now();
                self.book().tell_again();
            }
            if let Err(over) = self.tell_all(generation).await {
                return over;
            }
            if swept_at.elapsed() >= SWEPT_EVERY {
                swept_at = Instant::now();
                // What could not be swept is swept in its next turn.
                let _ = self.sweep(&mut turn).await;
            }
        }
    }

    /// Tells until there is nothing to be told, and says meanwhile that the node is alive.
    async fn tell_all(&self, generation: &mut Generation) -> Result<(), Over> {
        loop {
            if generation.alive_at.elapsed() >= ALIVE_EVERY {
                self.say_alive(generation).await?;
            }
            if self.redis.layout().await?.lives().await? != generation.lives {
                return Err(Over::Forgotten);
            }
            let words = self.book().take(CHANNELS_AT_ONCE);
            if words.is_empty() {
                return Ok(());
            }
            self.tell_words(generation.number, words).await?;
        }
    }

    async fn say_alive(&self, generation: &mut Generation) -> Result<(), Over> {
        let begun = Instant::now();
        let call = Call::on(self.redis.names().counting_nodes())
            .arg(self.name.as_str())
            .number(generation.number)
            .number(generation.is_counted.into())
            .number(COUNTS_LAST.as_millis() as u64);
        let answer = self.redis.script(&self.alive, call).await?;
        generation.alive_at = begun;
        if answer == redis::Value::Int(1) { Ok(()) } else { Err(Over::Forgotten) }
    }

    /// First the counts, and only then the names of the channels: who removes a name looks at the counts afterwards.
    async fn tell_words(&self, generation: u64, words: Vec<Word>) -> Result<(), RedisFault> {
        let field = field(&self.name, generation);
        let mut commands = Vec::with_capacity(words.len() * 2);
        let mut left = Vec::new();
        for word in &words {
            let key = self.redis.names().subscriptions(&word.place.0, &word.place.1);
            if word.count == 0 {
                commands.push((key.clone(), redis::Cmd::hdel(&key, &field)));
                left.push(word.place.clone());
            } else {
                commands.push((key.clone(), redis::Cmd::hset(&key, &field, word.count)));
            }
            if word.is_new {
                commands.push((key.clone(), redis::Cmd::pexpire(&key, FORGOTTEN_AFTER.as_millis() as i64)));
            }
        }
        self.run(commands).await?;
        let new: Vec<_> = words.into_iter().filter(|word| word.is_new).map(|word| word.place).collect();
        self.name_occupied(&new).await?;
        self.forget_if_empty(&left).await
    }
}
