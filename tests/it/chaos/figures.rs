//! The figures of a run: faults by kind, and how long it took to recover from each.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    checker, presence,
    subscribers::{Followed, Transport},
};

/// What was counted.
#[derive(Debug, Default)]
pub struct Figures {
    recoveries: BTreeMap<String, Vec<Duration>>,
    faults: usize,
}

impl Figures {
    /// Counts a fault, or several at once, and the time until everything was delivered everywhere again.
    pub fn count(&mut self, kind: String, faults: usize, recovery: Duration) {
        self.recoveries.entry(kind).or_default().push(recovery);
        self.faults += faults;
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.faults
    }

    /// The figures as tables.
    pub fn table(&self, checked: &checker::Figures, followed: &[Followed], presence: &presence::Figures) -> String {
        let mut table = format!(
            "Accepted {}, of these lost 0, doubled 0, reordered 0; never answered, yet stored once: {}; deliveries {}; faults {}.\n\n",
            checked.accepted, checked.unanswered, checked.delivered, self.faults
        );
        table.push_str("| by | subscribers | deliveries | came back |\n|---|---:|---:|---:|\n");
        for transport in [Transport::Socket, Transport::Sse, Transport::Poll] {
            let those: Vec<_> = followed.iter().filter(|one| one.transport == transport).collect();
            let got = those.iter().flat_map(|one| &one.subscriptions).map(|one| one.delivered.len()).sum::<usize>();
            let returns = those.iter().map(|one| one.returns).sum::<usize>();
            table.push_str(&format!("| {transport} | {} | {got} | {returns} |\n", those.len()));
        }
        let presence::Figures { told, changes, subscriptions, leaves, starved, settled } = presence;
        table.push_str(&format!(
            "\nPresence: {told} events judged, {changes} of them enters and leaves, over {subscriptions} subscriptions; members who want to stay \
             were told to have left {leaves} times with their connection or gateway, {starved} times on a machine that stood still; all agreed \
             {settled} times.\n\n{self}\n"
        ));
        table
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times | recovery, median (s) | worst (s) |")?;
        writeln!(f, "|---|---:|---:|---:|")?;
        for (kind, recoveries) in &self.recoveries {
            let mut sorted = recoveries.clone();
            sorted.sort();
            let median = sorted[sorted.len() / 2].as_secs_f64();
            let worst = sorted.last().map_or(0.0, Duration::as_secs_f64);
            writeln!(f, "| {kind} | {} | {median:.1} | {worst:.1} |", sorted.len())?;
        }
        Ok(())
    }
}
