//! What one observer knows of a room: the list, and on it the events of one unbroken subscription, which must be possible one after the other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Room;

/// A room as an observer sees it.
#[derive(Debug, Clone, Default)]
pub struct View {
    clients: BTreeMap<String, Known>,
}

/// What is known of a client that was heard of.
#[derive(Debug, Clone)]
struct Known {
    /// What it says of itself, if it is there.
    there: Option<Value>,
    /// An event told so. What only the list told, the first event may tell again.
    is_told: bool,
}

impl View {
    /// The list that was read after the subscription had begun.
    pub fn listed(items: &[Value]) -> Self {
        let known = |item: &Value| Known { there: Some(item["data"].clone()), is_told: false };
        Self { clients: items.iter().map(|item| (client(item), known(item))).collect() }
    }

    /// Takes an event, or says what is wrong with it.
    pub fn take(&mut self, event: &Value) -> Result<(), String> {
        let known = self.clients.entry(client(event)).or_insert(Known { there: None, is_told: false });
        let was_told_there = known.is_told.then_some(known.there.is_some());
        let wrong = match (event["action"].as_str(), was_told_there) {
            (Some("enter"), Some(true)) => Some("somebody entered twice"),
            (Some("leave"), Some(false)) => Some("somebody left twice"),
            (Some("update"), Some(false)) => Some("somebody changed who had left"),
            (Some("enter" | "update" | "leave"), _) => None,
            _ => Some("nobody does that"),
        };
        let there = (event["action"] != "leave").then(|| event["data"].clone());
        *known = Known { there, is_told: true };
        wrong.map_or(Ok(()), |wrong| Err(format!("{wrong}: {event}")))
    }

    /// Who is there.
    pub fn room(&self) -> Room {
        let there = self.clients.iter().filter_map(|(client, known)| Some((client.clone(), known.there.clone()?)));
        there.collect()
    }
}

fn client(value: &Value) -> String {
    value["client"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(action: &str, client: &str) -> Value {
        json!({"op": "presence", "action": action, "client": client, "data": action})
    }

    /// Whether the events are possible one after the other, for somebody who listed `ann`; and who is there in the end.
    fn follow(actions: &[(&str, &str)]) -> (bool, Vec<String>) {
        let mut view = View::listed(&[json!({"client": "ann", "data": 1})]);
        let is_possible = actions.iter().all(|(action, client)| view.take(&event(action, client)).is_ok());
        (is_possible, view.room().into_keys().collect())
    }

    #[test]
    fn what_the_list_told_may_be_told_again_and_what_an_event_told_may_not() {
        let ann = || vec!["ann".to_owned()];
        assert_eq!(follow(&[]), (true, ann()));
        assert_eq!(follow(&[("enter", "ann")]), (true, ann()));
        assert_eq!(follow(&[("leave", "bob")]), (true, ann()));
        assert_eq!(follow(&[("leave", "ann"), ("enter", "ann"), ("update", "ann")]), (true, ann()));
        assert_eq!(follow(&[("enter", "bob")]), (true, vec!["ann".to_owned(), "bob".to_owned()]));
        assert_eq!(follow(&[("update", "ann"), ("leave", "ann")]), (true, Vec::new()));
        for wrong in [
            [("enter", "ann"), ("enter", "ann")],
            [("update", "ann"), ("enter", "ann")],
            [("leave", "ann"), ("leave", "ann")],
            [("leave", "bob"), ("leave", "bob")],
            [("leave", "ann"), ("update", "ann")],
            [("enter", "ann"), ("dance", "ann")],
        ] {
            assert!(!follow(&wrong).0, "{wrong:?}");
        }
    }

    #[test]
    fn the_last_event_says_what_a_member_says_of_itself() {
        let mut view = View::listed(&[json!({"client": "ann", "data": 1})]);
        assert_eq!(view.room()["ann"], 1);
        view.take(&event("update", "ann")).expect("it is there");
        assert_eq!(view.room()["ann"], "update");
        view.take(&json!({"action": "update", "client": "ann"})).expect("it is there");
        assert_eq!(view.room()["ann"], Value::Null);
    }
}
