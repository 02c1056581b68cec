//! The topic as the brokers report it: its partitions, their first and last offsets, and deleted
//! messages.

use crate::kafka_client;
use crate::kafka_client::Connection;
use crate::kafka_errors::{LastError, unusable};
use crate::source::kafka::settings::{OnGap, Settings};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Default librdkafka settings, which the job can override. The source has its own queue, so
/// librdkafka's can be short, and a paused partition must resume quickly.
const USUAL: [(&str, &str); 4] = [
    ("group.id", "sluicebox"), // required by librdkafka; nothing is stored under it
    ("queued.max.messages.kbytes", "1024"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
];

/// Timeout of a request while the topic is being read: no messages are polled meanwhile.
const BRIEFLY: Duration = Duration::from_secs(1);

/// Errors of connections that are heard out for the reason why no broker answers.
const MOST_REASONS: usize = 20;

/// A topic and the client that reads it.
pub struct Topic {
    /// The client.
    pub consumer: BaseConsumer<LastError>,
    /// Settings of the schema registry.
    pub registry: BTreeMap<String, String>,
    /// Time for which the topic may be unknown before it counts as deleted.
    pub patience: Duration,
    name: String,
    on_gap: OnGap,
}

/// First offset of a partition, and the offset after its last.
pub struct Bounds {
    /// First offset.
    pub low: i64,
    /// Offset after the last.
    pub high: i64,
}

impl Topic {
    /// Connects to the brokers and finds the topic with its partitions.
    pub fn reach(options: &Settings) -> Result<(Self, Vec<i32>)> {
        let Settings { brokers, topic, connect_timeout, .. } = options;
        let Connection { mut config, context, registry } =
            kafka_client::connection(brokers, &options.properties, options.properties_file.as_ref())?;
        for (key, value) in USUAL {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error").set("enable.partition.eof", "false");
        let consumer: BaseConsumer<LastError> = config
            .create_with_context(context)
            .map_err(|error| Error::Request(format!("source.properties: {}", unusable(&error))))?;
        let (name, on_gap) = (topic.clone(), options.on_gap);
        let reached = Self { consumer, registry, patience: *connect_timeout, name, on_gap };
        reached.consumer.poll(Duration::ZERO); // fetches a token, if one is needed
        match reached.partitions_within(*connect_timeout) {
            Ok(Some(partitions)) => Ok((reached, partitions)),
            Ok(None) => Err(Error::Request(format!("the brokers at {brokers} have no topic `{topic}`"))),
            Err(error) => {
                // Receives the reason, behind others.
                let mut reasons = 0;
                while reasons < MOST_REASONS && reached.consumer.poll(Duration::from_millis(100)).is_some() {
                    reasons += 1;
                }
                let waited = humantime_serde::re::humantime::format_duration(*connect_timeout);
                Err(Error::Request(format!(
                    "no broker at {brokers} answered about topic `{topic}` within {waited}: {}; check that \
                     source.brokers is correct",
                    reached.consumer.context().reason(&error)
                )))
            }
        }
    }

    /// Returns an error about the topic.
    pub fn fault(&self, reason: impl std::fmt::Display) -> Error {
        Error::Engine(format!("topic `{}`: {reason}", self.name))
    }

    /// Warns about a problem that does not end the job.
    pub fn warn(&self, reason: impl std::fmt::Display) {
        tracing::warn!("topic `{}`: {reason}", self.name);
    }

    /// Returns `partitions` at `offset` as a list of librdkafka.
    pub fn list(&self, partitions: &[i32], offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let added = list.add_partition_offset(&self.name, *partition, offset);
            added.map_err(|error| self.fault(error))?;
        }
        Ok(list)
    }

    /// Returns the partitions; None if the brokers do not know the topic.
    pub fn partitions(&self) -> KafkaResult<Option<Vec<i32>>> {
        self.partitions_within(BRIEFLY)
    }

    fn partitions_within(&self, patience: Duration) -> KafkaResult<Option<Vec<i32>>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.name), patience)?;
        let found = metadata.topics().iter().find(|found| found.name() == self.name);
        match found.map(|found| (found.error().map(RDKafkaErrorCode::from), found.partitions())) {
            None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => Ok(None),
            Some((Some(error), _)) => Err(KafkaError::MetadataFetch(error)),
            Some((None, partitions)) => Ok(Some(partitions.iter().map(|partition| partition.id()).collect())),
        }
    }

    /// Returns the bounds of a partition; None if no broker answers.
    pub fn bounds(&self, partition: i32) -> Result<Option<Bounds>> {
        use RDKafkaErrorCode as Code;
        match self.consumer.fetch_watermarks(&self.name, partition, BRIEFLY) {
            Ok((low, high)) => Ok(Some(Bounds { low, high })),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::UnknownPartition | Code::UnknownTopicOrPartition) => Err(self.fault(format!(
                    "partition {partition} no longer exists; if the topic was deleted and created again, start anew with \
                     --fresh"
                ))),
                _ => Ok(None),
            },
        }
    }

    /// Returns the offsets after the last messages of partitions; None if no broker answers.
    pub fn ends(&self, partitions: &[i32]) -> Result<Option<BTreeMap<i32, i64>>> {
        let list = self.list(partitions, Offset::End)?;
        let Ok(found) = self.consumer.offsets_for_times(list, BRIEFLY) else { return Ok(None) };
        let end = |of: &TopicPartitionListElem<'_>| match of.offset() {
            Offset::Offset(end) => Some((of.partition(), end)),
            _ => None,
        };
        Ok(Some(found.elements().iter().filter_map(end).collect()))
    }

    /// Returns the first offset from `offset` on that the brokers still have.
    pub fn after_gap(&self, partition: i32, offset: i64, bounds: &Bounds) -> Result<i64> {
        let Bounds { low, high } = bounds;
        if offset > *high {
            return Err(self.fault(format!(
                "partition {partition} ends at offset {high}, but {offset} is next; if the topic was deleted and \
                 created again, start anew with --fresh"
            )));
        }
        let missing = low - offset;
        if missing <= 0 {
            return Ok(offset);
        }
        let gone = format!(
            "{missing} messages of partition {partition}, from offset {offset} on, were deleted by \
             the brokers before they were read"
        );
        match self.on_gap {
            OnGap::Skip => {
                self.warn(format!("{gone}; they are skipped"));
                Ok(*low)
            }
            OnGap::Fail => Err(self.fault(format!(
                "{gone}; set source.on_gap = \"skip\" to go on without them, or start anew with --fresh"
            ))),
        }
    }
}
