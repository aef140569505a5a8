//! What was measured, as a table in Markdown.

use super::measurements::{Measured, Traffic};

/// The name of the target that others are divided by.
pub const LIMIT: &str = "limit";

/// A column: what it is called, and what stands in it. What is measured less well by a higher figure has a ratio to the limit in brackets.
type Column = (&'static str, fn(&Measured) -> Option<f64>, fn(f64) -> String);

const COLUMNS: [Column; 18] = [
    ("connect, CPU µs", |it| it.cpu_us_per_connect, tenths),
    ("RSS a connection, bytes", |it| it.memory_bytes_per_connection, whole),
    ("RSS a channel, bytes", |it| it.memory_bytes_per_channel, whole),
    ("subscribe, CPU µs", |it| it.cpu_us_per_channel, tenths),
    ("CPU, % of a core", |it| it.cpu_percent, tenths),
    ("publishes/s", |it| of(it, |it| it.publishes_per_s), whole),
    ("deliveries/s", |it| of(it, |it| it.deliveries_per_s), whole),
    ("CPU µs a delivery", |it| it.traffic.as_ref()?.cpu_us_per_delivery, hundredths),
    ("CPU µs a publish", |it| it.traffic.as_ref()?.cpu_us_per_publish, whole),
    ("p50 ms", |it| of(it, |it| it.p50_us), millis),
    ("p99 ms", |it| of(it, |it| it.p99_us), millis),
    ("p99.9 ms", |it| of(it, |it| it.p999_us), millis),
    ("answer p50 ms", |it| it.traffic.as_ref()?.answer_p50_us, millis),
    ("client's CPU µs a delivery", |it| of(it, |it| it.client_cpu_us_per_delivery), hundredths),
    ("others' CPU, %", |it| Some(it.others_cpu_percent), tenths),
    ("gaps", |it| of(it, |it| it.faults.gaps as f64), whole),
    ("doubles, late", |it| of(it, |it| (it.faults.doubles + it.faults.late) as f64), whole),
    ("ended", |it| Some(it.ended as f64), whole),
];

/// Columns that have no ratio: counts of what went wrong, and what is the client's own.
const PLAIN: [&str; 7] = [
    "others' CPU, %",
    "gaps",
    "doubles, late",
    "ended",
    "client's CPU µs a delivery",
    "publishes/s",
    "CPU, % of a core",
];

/// The rows of one scenario, with the ratio to the limit's row in brackets. Columns that nobody has anything in are left out.
pub fn table(rows: &[Measured]) -> String {
    let columns: Vec<_> = COLUMNS.iter().filter(|(_, value, _)| rows.iter().any(|row| value(row).is_some())).collect();
    let limit = rows.iter().find(|row| row.target == LIMIT);
    let mut text = String::from("| server |");
    columns.iter().for_each(|(name, ..)| text.push_str(&format!(" {name} |")));
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(columns.len()));
    for row in rows {
        let name = if row.target == LIMIT { LIMIT.to_owned() } else { format!("{}, {}", row.target, row.clients) };
        text.push_str(&format!("\n| {name} |"));
        for (column, value, written) in &columns {
            let Some(found) = value(row) else {
                text.push_str(" |");
                continue;
            };
            let base = limit.filter(|limit| limit.target != row.target && !PLAIN.contains(column)).and_then(value);
            let ratio =
                base.filter(|base| *base > 0.0).map_or_else(String::new, |base| format!(" ({:.2})", found / base));
            text.push_str(&format!(" {}{ratio} |", written(found)));
        }
    }
    text
}

fn of(measured: &Measured, value: fn(&Traffic) -> f64) -> Option<f64> {
    measured.traffic.as_ref().map(value)
}

fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{}{}", if value < 0.0 { "-" } else { "" }, groups.join(","))
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

fn millis(us: f64) -> String {
    format!("{:.2}", us / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: &str, cpu_us_per_connect: f64) -> Measured {
        Measured {
            scenario: "storm".to_owned(),
            target: target.to_owned(),
            clients: "native",
            connections: 10,
            ended: 0,
            problem: None,
            connect_seconds: 1.0,
            cpu_us_per_connect: Some(cpu_us_per_connect),
            memory_before_bytes: 0,
            memory_bytes_per_connection: Some(12_345.6),
            memory_bytes_per_channel: None,
            cpu_us_per_channel: None,
            cpu_percent: None,
            others_cpu_percent: 1.5,
            traffic: None,
        }
    }

    #[test]
    fn a_table_has_what_was_measured_and_its_ratio_to_the_limit() {
        let expected = "| server | connect, CPU µs | RSS a connection, bytes | others' CPU, % | ended |\n|---|---:|---:|---:|---:|\n\
                        | limit | 20.0 | 12,346 | 1.5 | 0 |\n| fanfare, native | 50.0 (2.50) | 12,346 (1.00) | 1.5 | 0 |";
        assert_eq!(table(&[row("limit", 20.0), row("fanfare", 50.0)]), expected);
    }
}
