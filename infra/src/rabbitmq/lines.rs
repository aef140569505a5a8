//! What waits to be sent, by queue. While a queue's last message is not confirmed, and while the broker is busy, it is joined to one message, so that a busy partition
//! costs the broker no more than a quiet one.

use std::collections::{HashMap, VecDeque};

use super::publishing::Order;

/// So many messages of a queue may be on the way before the next ones wait.
const ON_THE_WAY: usize = 1;
/// A joined message ends at about this many bytes.
const JOINED_BYTES: usize = 128 * 1024;

/// The lines of all queues.
#[derive(Default)]
pub(super) struct Lines {
    by_queue: HashMap<String, Line>,
    /// The queues to which something can be sent, each once.
    ready: Vec<String>,
}

/// The line of one queue; it is there while anything of it waits or is on the way.
#[derive(Default)]
struct Line {
    on_the_way: usize,
    waiting: VecDeque<Order>,
    is_ready: bool,
}

impl Lines {
    /// Takes an order in. Whatever goes to a queue goes in the order in which it came.
    pub fn enter(&mut self, order: Order) {
        if !self.by_queue.contains_key(&order.queue) {
            self.by_queue.insert(order.queue.clone(), Line::default());
        }
        let Some(line) = self.by_queue.get_mut(&order.queue) else { return };
        let queue = (!line.is_ready && (line.on_the_way < ON_THE_WAY || !order.joins)).then(|| order.queue.clone());
        line.is_ready |= queue.is_some();
        self.ready.extend(queue);
        line.waiting.push_back(order);
    }

    /// A message of a queue is on the way no longer.
    pub fn settled(&mut self, queue: &str) {
        let Some(line) = self.by_queue.get_mut(queue) else { return };
        line.on_the_way -= 1;
        match (line.waiting.is_empty(), line.is_ready) {
            (true, _) if line.on_the_way == 0 => _ = self.by_queue.remove(queue),
            (false, false) => {
                line.is_ready = true;
                self.ready.push(queue.to_owned());
            }
            _ => {}
        }
    }

    /// Whether anything can be sent.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What is to be sent now.
    pub fn take(&mut self) -> Vec<Order> {
        let mut taken = Vec::with_capacity(self.ready.len());
        for queue in self.ready.drain(..) {
            let Some(line) = self.by_queue.get_mut(&queue) else { continue };
            line.is_ready = false;
            while line.on_the_way < ON_THE_WAY || line.waiting.front().is_some_and(|order| !order.joins) {
                let Some(order) = line.pop() else { break };
                line.on_the_way += 1;
                taken.push(order);
            }
        }
        taken
    }

    /// All that waits, to be sent no more.
    pub fn drain(&mut self) -> impl Iterator<Item = Order> {
        self.ready.clear();
        self.by_queue.drain().flat_map(|(_, line)| line.waiting)
    }
}

impl Line {
    /// What has waited longest, with all behind it that joins it.
    fn pop(&mut self) -> Option<Order> {
        let mut order = self.waiting.pop_front()?;
        let mut bytes = order.body.len();
        while order.joins
            && let Some(next) = self.waiting.pop_front_if(|next| next.joins && bytes + next.body.len() <= JOINED_BYTES)
        {
            bytes += next.body.len();
            order.join(next);
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str, joins: bool) -> Order {
        let (mut order, _) = Order::durable("q".to_owned(), format!(r#"{{"v":1,"messages":[{text}]}}"#).into_bytes());
        order.joins = joins;
        order
    }

    fn taken(lines: &mut Lines) -> Vec<String> {
        lines.take().into_iter().map(|order| String::from_utf8(order.body).unwrap()).collect()
    }

    #[test]
    fn what_waits_is_joined_in_order_and_one_by_one_on_the_way() {
        let mut lines = Lines::default();
        ["0", "1"].into_iter().for_each(|text| lines.enter(order(text, true)));
        assert!(lines.is_ready());
        assert_eq!(taken(&mut lines), [r#"{"v":1,"messages":[0,1]}"#]);
        ["2", "3", "4"].into_iter().for_each(|text| lines.enter(order(text, true)));
        assert!(!lines.is_ready() && lines.take().is_empty());
        lines.settled("q");
        let next = lines.take();
        assert_eq!((next.len(), next[0].verdicts.len()), (1, 3));
        assert!(next[0].body.ends_with(b"[2,3,4]}"));
        lines.settled("q");
        assert!(!lines.is_ready() && lines.by_queue.is_empty());
    }

    #[test]
    fn what_does_not_join_waits_only_for_what_came_before_it() {
        let mut lines = Lines::default();
        lines.enter(order("0", true));
        assert_eq!(lines.take().len(), 1);
        lines.enter(order("1", false));
        assert_eq!(lines.take().len(), 1, "nothing waits before it");
        for (text, joins) in [("2", true), ("3", true), ("4", false), ("5", true)] {
            lines.enter(order(text, joins));
        }
        assert!(lines.take().is_empty());
        lines.settled("q");
        assert!(lines.take().is_empty());
        lines.settled("q");
        assert_eq!(taken(&mut lines), [r#"{"v":1,"messages":[2,3]}"#, r#"{"v":1,"messages":[4]}"#]);
        lines.settled("q");
        assert!(lines.take().is_empty());
        assert_eq!(lines.drain().count(), 1);
    }

    #[test]
    fn a_joined_message_is_bounded() {
        let mut lines = Lines::default();
        let large = format!("\"{}\"", "x".repeat(JOINED_BYTES / 2));
        (0..3).for_each(|_| lines.enter(order(&large, true)));
        assert_eq!((lines.take().len(), lines.drain().count()), (1, 2));
    }
}
