//! The sentence that tells what became of a message.

use fanfare_domain::deliveries::{Doubt, Judged, Outcome, Verdict};

pub(super) const EPHEMERAL: &str = "It is ephemeral: it went to whoever was there at that moment. It has no serial and leaves no record, so who got it is not known.";
pub(super) const NOT_PERSISTED: &str =
    "It was accepted and is not in history yet: it waits in the queue, and nobody gets it before it is stored.";

/// What became of it, and which connection says so.
pub(super) fn of(verdict: &Verdict) -> String {
    match verdict.by.map(|by| &verdict.courses[by]) {
        Some(judged) => by_course(verdict.outcome, judged),
        None => without_course(verdict),
    }
}

fn by_course(outcome: Outcome, judged: &Judged) -> String {
    let course = &judged.course;
    let connection = format!("the connection {} ({})", course.connection, course.transport);
    let reason = course.end.as_ref().map_or("", |end| end.reason.as_str());
    let is_refusal = course.end.as_ref().is_some_and(|end| end.is_refusal);
    match outcome {
        Outcome::Delivered => format!("It left for the client on {connection}."),
        Outcome::Waiting => format!(
            "It is on its way: it waits for {connection}, or has left and that is not known yet. Ask again in a moment."
        ),
        Outcome::Unknown if judged.is_lost => format!(
            "The node of {connection} is lost; what it wrote after serial {} is not known. Its client resumes after what it received.",
            course.written
        ),
        Outcome::Unknown if course.is_late => {
            format!("The trace was switched on after {connection} had subscribed; what it got before is not known.")
        }
        Outcome::Unknown => {
            format!("So much was passed over on {connection} that it is not known any more whether this was.")
        }
        Outcome::Filtered => format!(
            "It was kept from {connection}, which got a `skip` in its stead: the publisher excluded it, or published on it with `echo` off."
        ),
        Outcome::PastRetention => {
            format!("When {connection} would have read it, it was past retention; the client was told of the gap.")
        }
        Outcome::Slow => format!(
            "{} read too slowly and was closed before it was written; it did not resume since.",
            capital(&connection)
        ),
        Outcome::NoRight if is_refusal => {
            format!("The client asked to subscribe on {connection} and was refused: {reason}.")
        }
        Outcome::NoRight if course.is_held && reason.is_empty() => {
            format!("The token of {connection} has expired; it is delivered once a fresh one is sent.")
        }
        Outcome::NoRight => format!("The right of {connection} had ended ({reason}) before it was written."),
        Outcome::Disconnected if course.transport == "poll" => {
            "The client's last poll ended before it, and it has not polled from there since.".to_owned()
        }
        Outcome::Disconnected => {
            format!("{} had ended ({reason}) before it was written, and has not resumed since.", capital(&connection))
        }
        Outcome::NotSubscribed if is_refusal => {
            format!("The client asked to subscribe on {connection} and was refused: {reason}.")
        }
        Outcome::NotSubscribed if course.end.is_some() => {
            format!(
                "The client did not subscribe to the channel then; the subscription of {connection} was another time's ({reason})."
            )
        }
        Outcome::NotSubscribed => {
            format!(
                "The client did not subscribe to the channel then: {connection} began after serial {}.",
                course.from
            )
        }
    }
}

fn without_course(verdict: &Verdict) -> String {
    match verdict.doubt {
        Some(Doubt::Gap) => {
            "A node that may have served the client then was late to tell what it did, or was lost before it could."
                .to_owned()
        }
        Some(Doubt::Young) => {
            "It is so new that the trace may not know of it yet. Ask again in a few seconds.".to_owned()
        }
        Some(Doubt::Old) => "The trace does not reach back to when it was published.".to_owned(),
        None => "The client did not subscribe to the channel then.".to_owned(),
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}
