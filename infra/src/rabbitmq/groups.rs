//! The messages of one request, by the queue that each goes to.

use fanfare_domain::{
    ids::MessageId,
    partitions::{Partition, partition_of},
    publishing::Accepted,
};

use crate::envelopes::queued;

/// A group ends at about this many bytes, so that no message of a queue is a large one.
const GROUP_BYTES: usize = 1024 * 1024;

/// Messages that travel as one.
pub(super) struct Group {
    /// Their partition.
    pub partition: Partition,
    /// Where each stood in the request.
    pub at: Vec<usize>,
    /// Their ids.
    pub ids: Vec<MessageId>,
    /// Their envelope.
    pub body: Vec<u8>,
}

/// Messages of one partition stay in order, in a group or in one after the other.
pub(super) fn group(messages: Vec<Accepted>, partitions: Partition) -> Vec<Group> {
    let mut open: Vec<(Partition, usize, Vec<usize>, Vec<Accepted>)> = Vec::new();
    for (at, accepted) in messages.into_iter().enumerate() {
        let partition = partition_of(&accepted.app, &accepted.channel, partitions);
        let bytes = accepted.message.data.get().len();
        match open.iter_mut().rev().find(|(other, ..)| *other == partition) {
            Some((_, held, places, group)) if *held + bytes <= GROUP_BYTES => {
                *held += bytes;
                places.push(at);
                group.push(accepted);
            }
            _ => open.push((partition, bytes, vec![at], vec![accepted])),
        }
    }
    let close = |(partition, _, at, messages): (_, _, _, Vec<Accepted>)| Group {
        partition,
        at,
        ids: messages.iter().map(|accepted| accepted.message.id.clone()).collect(),
        body: queued::encode(&messages),
    };
    open.into_iter().map(close).collect()
}

#[cfg(test)]
mod tests {
    use fanfare_domain::{Timestamp, ids::AppId, messages::Message, rules::Retention};
    use fanfare_protocol::ChannelName;
    use serde_json::value::RawValue;

    use super::*;

    fn message(app: &AppId, channel: &str, bytes: usize) -> Accepted {
        Accepted {
            app: app.clone(),
            channel: ChannelName::parse(channel).unwrap(),
            message: Message {
                id: MessageId::generate(),
                time: Timestamp(1),
                name: None,
                client: None,
                headers: None,
                data: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap(),
            },
            keyed: false,
            fingerprint: [0; 16],
            exclude: None,
            retention: Retention { retention_s: 60, max_messages: None },
            trace: None,
            redelivered: false,
        }
    }

    #[test]
    fn messages_of_a_partition_stay_together_and_in_order() {
        let app = AppId::generate();
        let messages: Vec<_> = (0..40).map(|number| message(&app, &format!("c:{}", number % 7), 10)).collect();
        let groups = group(messages.clone(), 4);
        assert!(groups.len() <= 4);
        let mut seen: Vec<_> = groups.iter().flat_map(|group| group.at.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        for group in groups {
            assert!(group.at.is_sorted());
            let decoded = queued::decode(&group.body).unwrap();
            for ((accepted, at), id) in decoded.iter().zip(&group.at).zip(&group.ids) {
                assert_eq!(partition_of(&accepted.app, &accepted.channel, 4), group.partition);
                assert_eq!((&accepted.message.id, &messages[*at].message.id), (id, id));
            }
        }
    }

    #[test]
    fn large_messages_are_spread_over_several_groups_in_order() {
        let app = AppId::generate();
        let messages: Vec<_> = (0..5).map(|_| message(&app, "c", GROUP_BYTES / 2 - 2)).collect();
        let places: Vec<_> = group(messages, 4).into_iter().map(|group| group.at).collect();
        assert_eq!(places, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
