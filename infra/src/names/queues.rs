//! What is called how in RabbitMQ.

use fanfare_domain::partitions::Partition;

use super::Names;

impl Names {
    /// The queue of a partition.
    pub fn queue(&self, partition: Partition) -> String {
        format!("{self}.p.{partition}")
    }

    /// The queue of what is set aside.
    pub fn dead_letters(&self) -> String {
        format!("{self}.dead")
    }

    /// The queue of notes for webhooks.
    pub fn notes(&self) -> String {
        format!("{self}.notes")
    }

    /// The queue of what webhooks are to be told.
    pub fn webhooks(&self) -> String {
        format!("{self}.webhooks")
    }

    /// A queue for the answers to one connection, whose name no other one has had.
    pub(crate) fn replies(&self) -> String {
        format!("{self}.r.{:032x}", rand::random::<u128>())
    }

    /// What the broker shows a connection as.
    pub(crate) fn connection(&self, purpose: &str) -> String {
        format!("{self} {purpose}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_called_by_the_prefix_and_by_default_as_ever() {
        let names = Names::default();
        assert_eq!((names.queue(17), names.dead_letters()), ("fanfare.p.17".to_owned(), "fanfare.dead".to_owned()));
        let names: Names = "acme.eu".parse().unwrap();
        assert_eq!((names.queue(0), names.dead_letters()), ("acme.eu.p.0".to_owned(), "acme.eu.dead".to_owned()));
        assert_eq!((names.notes(), names.webhooks()), ("acme.eu.notes".to_owned(), "acme.eu.webhooks".to_owned()));
        assert!(names.replies().starts_with("acme.eu.r.") && names.replies() != names.replies());
        assert_eq!(names.connection("publishing"), "acme.eu publishing");
    }

    #[test]
    fn prefixes_that_look_like_each_others_names_share_no_queue() {
        let queues = |prefix: &str| {
            let names: Names = prefix.parse().unwrap();
            (0..3)
                .map(|partition| names.queue(partition))
                .chain([names.dead_letters(), names.notes(), names.webhooks()])
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = ["a", "a.p", "a.p.0", "a.dead", "a.r", "a.notes", "a.webhooks", "fanfare", "fanfare.p"]
            .map(queues)
            .concat();
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
