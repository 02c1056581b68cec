//! The thread that fetches a topic ahead: one bounded queue a partition. A partition whose queue
//! is full is paused while polling goes on, so that the brokers keep the client.

use super::OnGap;
use super::message::{Decoder, Message};
use crate::brokers::Ears;
use crate::error::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a poll waits; also how soon a paused partition goes on.
const POLL: Duration = Duration::from_millis(10);
/// How often the topic is asked for partitions.
const REFRESH: Duration = Duration::from_secs(10);
/// How long such a question may take: nothing is polled meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of one partition, what has come and is not read.
pub struct Queue {
    /// The offset at which it began.
    pub first: i64,
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Queue {
    fn new(first: i64) -> Self {
        Self { first, messages: VecDeque::new(), bytes: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The message that comes next, left where it is.
    pub fn front(&self) -> Option<&Message> {
        self.messages.front()
    }

    /// The message that comes next.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes();
        Some(message)
    }
}

/// What thread and reader share.
#[derive(Default)]
pub struct Ahead {
    /// By partition.
    pub queues: BTreeMap<i32, Queue>,
    fault: Option<Error>,
}

#[derive(Default)]
struct Shared {
    ahead: Mutex<Ahead>,
    stop: AtomicBool,
}

/// A topic that is being fetched; dropping it ends that.
pub struct Fetcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What to fetch, and how.
pub struct Plan {
    /// A client that has reached the brokers.
    pub consumer: BaseConsumer<Ears>,
    /// The topic.
    pub topic: String,
    /// The next offset of each partition.
    pub next: BTreeMap<i32, i64>,
    /// What its messages are.
    pub decoder: Decoder,
    /// Bytes that may wait, over all partitions.
    pub buffer_bytes: usize,
    /// What is done where messages are gone.
    pub on_gap: OnGap,
    /// How long a topic may be unknown before it is taken for deleted.
    pub patience: Duration,
}

impl Fetcher {
    /// Begins to fetch.
    pub fn start(plan: Plan) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut poller = Poller {
            share: 0,
            paused: BTreeSet::new(),
            refreshed: Instant::now(),
            gap: false,
            unknown: None,
            troubled: false,
            shared: shared.clone(),
            next: BTreeMap::new(),
            plan,
        };
        let thread = std::thread::Builder::new().name("kafka".into()).spawn(move || {
            if let Err(error) = poller.run() {
                poller.ahead().fault = Some(error);
            }
        });
        let thread = thread.map_err(|error| Error::Engine(format!("cannot fetch from Kafka: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What has come. Fails where fetching has ended.
    pub fn ahead(&self) -> Result<MutexGuard<'_, Ahead>> {
        let mut ahead = self.shared.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = ahead.fault.take() {
            return Err(fault);
        }
        match &self.thread {
            Some(thread) if !thread.is_finished() => Ok(ahead),
            _ => Err(Error::Engine("nothing fetches from Kafka any more".into())),
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic has been told by the hook
        }
    }
}

struct Poller {
    plan: Plan,
    shared: Arc<Shared>,
    /// The offset that comes next, by partition that is fetched.
    next: BTreeMap<i32, i64>,
    /// Bytes that may wait of one partition; one message always may.
    share: usize,
    paused: BTreeSet<i32>,
    refreshed: Instant,
    /// Messages may be gone.
    gap: bool,
    /// Since when the brokers do not know the topic.
    unknown: Option<Instant>,
    /// It was told that nothing comes.
    troubled: bool,
}

impl Poller {
    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.shared.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn fault(&self, reason: impl std::fmt::Display) -> Error {
        Error::Engine(format!("topic `{}`: {reason}", self.plan.topic))
    }

    fn run(&mut self) -> Result<()> {
        for (partition, offset) in std::mem::take(&mut self.plan.next) {
            let bounds = loop {
                match self.bounds(partition)? {
                    Some(bounds) => break bounds,
                    None if self.stops() => return Ok(()),
                    None => {}
                }
            };
            let offset = self.after_gap(partition, offset, bounds)?;
            self.begin(partition, offset)?;
        }
        while !self.stops() {
            let polled = match self.plan.consumer.poll(POLL) {
                Some(Ok(message)) => Some(Ok((message.partition(), self.decode(&message)?))),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            match polled {
                Some(Ok((partition, message))) => self.accept(partition, message)?,
                Some(Err(error)) => self.hear(&error)?,
                None => {}
            }
            self.resume()?;
            if self.gap {
                self.close_gaps()?;
            }
            if self.refreshed.elapsed() >= REFRESH {
                self.refreshed = Instant::now();
                self.refresh()?;
            }
        }
        Ok(())
    }

    /// Fetches a partition from `offset` on.
    fn begin(&mut self, partition: i32, offset: i64) -> Result<()> {
        self.next.insert(partition, offset);
        self.share = self.plan.buffer_bytes / self.next.len();
        self.ahead().queues.entry(partition).or_insert_with(|| Queue::new(offset));
        let list = self.list([partition], Offset::Offset(offset))?;
        self.plan.consumer.incremental_assign(&list).map_err(|error| self.fault(error))
    }

    fn list(&self, partitions: impl IntoIterator<Item = i32>, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let added = list.add_partition_offset(&self.plan.topic, partition, offset);
            added.map_err(|error| self.fault(error))?;
        }
        Ok(list)
    }

    fn decode(&self, message: &BorrowedMessage<'_>) -> Result<Message> {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(id) = place_id(partition, offset) else {
            return Err(self.fault(format!("message {offset} of partition {partition} has no id: {TOO_FAR}")));
        };
        Ok(Message { offset, content: self.plan.decoder.decode(id, message.payload()) })
    }

    fn accept(&mut self, partition: i32, message: Message) -> Result<()> {
        self.unknown = None;
        if std::mem::take(&mut self.troubled) {
            eprintln!("topic `{}` is read again", self.plan.topic);
        }
        let next = self.next.entry(partition).or_insert(message.offset);
        if message.offset < *next {
            return Ok(()); // it was fetched before
        }
        *next = message.offset + 1;
        let mut ahead = self.ahead();
        let queue = ahead.queues.entry(partition).or_insert_with(|| Queue::new(message.offset));
        queue.bytes += message.bytes();
        queue.messages.push_back(message);
        let full = queue.bytes >= self.share;
        drop(ahead);
        if full && self.paused.insert(partition) {
            let list = self.list([partition], Offset::Invalid)?;
            self.plan.consumer.pause(&list).map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    /// Lets paused partitions go on once half of their queue is read.
    fn resume(&mut self) -> Result<()> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let ahead = self.ahead();
        let has_room =
            |partition: &&i32| ahead.queues.get(partition).is_none_or(|q| q.bytes <= self.share / 2);
        let ready: Vec<i32> = self.paused.iter().filter(has_room).copied().collect();
        drop(ahead);
        if !ready.is_empty() {
            self.paused.retain(|partition| !ready.contains(partition));
            let list = self.list(ready, Offset::Invalid)?;
            self.plan.consumer.resume(&list).map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    /// Acts on what librdkafka complains of. It connects again by itself.
    fn hear(&mut self, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode as Code;
        let reason = self.plan.consumer.context().reason(error);
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(self.fault(reason));
        }
        match error.rdkafka_error_code() {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => {
                self.gap = true;
                return Ok(());
            }
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                self.refresh()?;
            }
            // Partitions are assigned by hand: no group is needed.
            Some(Code::GroupAuthorizationFailed) => return Ok(()),
            _ => {}
        }
        if !std::mem::replace(&mut self.troubled, true) {
            eprintln!("warning: topic `{}`: {reason}; waiting until it can be read again", self.plan.topic);
        }
        Ok(())
    }

    /// Looks for partitions that are new; they are read from their beginning.
    fn refresh(&mut self) -> Result<()> {
        let Ok(partitions) = partitions(&self.plan.consumer, &self.plan.topic, PATIENCE) else {
            return Ok(()); // no broker answers for now
        };
        let Some(partitions) = partitions else {
            let since = *self.unknown.get_or_insert_with(Instant::now);
            return match since.elapsed() >= self.plan.patience {
                true => Err(self.fault("the brokers do not know it any more: was it deleted?")),
                false => Ok(()),
            };
        };
        self.unknown = None;
        for partition in partitions {
            if !self.next.contains_key(&partition)
                && let Some((low, _)) = self.bounds(partition)?
            {
                self.begin(partition, low)?;
            }
        }
        Ok(())
    }

    /// The first offset of a partition and the one after its last; none while no broker answers.
    fn bounds(&self, partition: i32) -> Result<Option<(i64, i64)>> {
        use RDKafkaErrorCode as Code;
        match self.plan.consumer.fetch_watermarks(&self.plan.topic, partition, PATIENCE) {
            Ok(bounds) => Ok(Some(bounds)),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::UnknownPartition | Code::UnknownTopicOrPartition) => Err(self.fault(format!(
                    "there is no partition {partition} any more: was the topic made anew? Start anew with \
                     --fresh"
                ))),
                _ => Ok(None),
            },
        }
    }

    /// Finds where messages are gone and goes on behind them, or fails.
    fn close_gaps(&mut self) -> Result<()> {
        for (partition, offset) in self.next.clone() {
            let Some(bounds) = self.bounds(partition)? else { return Ok(()) };
            let after = self.after_gap(partition, offset, bounds)?;
            if after != offset {
                let list = self.list([partition], Offset::Invalid)?;
                let unassigned = self.plan.consumer.incremental_unassign(&list);
                unassigned.map_err(|error| self.fault(error))?;
                self.begin(partition, after)?;
            }
        }
        self.gap = false;
        Ok(())
    }

    /// The first offset from `offset` on that the brokers still have.
    fn after_gap(&self, partition: i32, offset: i64, (low, high): (i64, i64)) -> Result<i64> {
        if offset > high {
            return Err(self.fault(format!(
                "partition {partition} ends at offset {high}, but {offset} is next: was the topic made anew? \
                 Start anew with --fresh"
            )));
        }
        let missing = low - offset;
        if missing <= 0 {
            return Ok(offset);
        }
        let gone = format!(
            "{missing} messages of partition {partition}, from offset {offset} on, are gone: the brokers \
             keep them no longer"
        );
        match self.plan.on_gap {
            OnGap::Skip => {
                eprintln!("warning: topic `{}`: {gone}; they are skipped", self.plan.topic);
                Ok(low)
            }
            OnGap::Fail => Err(self.fault(format!(
                "{gone}; set source.on_gap = \"skip\" to go on without them, or start anew with --fresh"
            ))),
        }
    }
}

const TOO_FAR: &str = "partitions up to 4095 and offsets below 2^40 can be named";

/// The id of the sample at a place of the topic.
fn place_id(partition: i32, offset: i64) -> Option<u64> {
    let (partition, offset) = (u64::try_from(partition).ok()?, u64::try_from(offset).ok()?);
    (partition < 1 << 12 && offset < 1 << 40).then_some(partition << 40 | offset)
}

/// The partitions of a topic; none where the brokers do not know it.
pub fn partitions(
    consumer: &BaseConsumer<Ears>,
    topic: &str,
    patience: Duration,
) -> KafkaResult<Option<Vec<i32>>> {
    let metadata = consumer.fetch_metadata(Some(topic), patience)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.map(|found| (found.error().map(RDKafkaErrorCode::from), found.partitions())) {
        None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => Ok(None),
        Some((Some(error), _)) => Err(KafkaError::MetadataFetch(error)),
        Some((None, partitions)) => Ok(Some(partitions.iter().map(|partition| partition.id()).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Encoding;
    use super::*;
    use crate::samples::{Dtype, Format, Shape};
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    #[test]
    fn a_full_queue_pauses_its_partition_and_no_other() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("samples", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "sluicebox");
        config.set("enable.auto.commit", "false").set("fetch.wait.max.ms", "50");
        let producer: BaseProducer = config.create().unwrap();
        let send = |partition, count| {
            for _ in 0..count {
                let record = BaseRecord::<(), [u8]>::to("samples").partition(partition).payload(&[1; 1000]);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(Duration::from_secs(30)).unwrap();
        };
        send(0, 500);
        let format = Format {
            shape: Shape::Vector { features: 1000 },
            dtype: Dtype::U8,
            scale: 1.0,
            classes: vec!["cat".into(), "dog".into()],
        };
        let fetcher = Fetcher::start(Plan {
            consumer: config.create_with_context(Ears::default()).unwrap(),
            topic: "samples".into(),
            next: BTreeMap::from([(0, 0), (1, 0)]),
            decoder: Decoder { encoding: Encoding::Raw, format },
            buffer_bytes: 40_000,
            on_gap: OnGap::Fail,
            patience: Duration::from_secs(30),
        })
        .unwrap();
        let bytes = |partition: i32| fetcher.ahead().unwrap().queues.get(&partition).map_or(0, |q| q.bytes);
        let wait = |until: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !until() {
                assert!(began.elapsed() < Duration::from_secs(30));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait(&|| bytes(0) >= 20_000);
        // Nobody reads; the other partition's messages come all the same.
        send(1, 5);
        wait(&|| bytes(1) >= 5_000);
        assert!(bytes(0) < 20_000 + 2 * (1000 + 128), "{}", bytes(0));
        // With room again, it goes on where it was.
        let mut next = 0;
        while next < 500 {
            let message = fetcher.ahead().unwrap().queues.get_mut(&0).and_then(Queue::pop);
            match message {
                Some(message) => {
                    assert_eq!(message.offset, next);
                    next += 1;
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(bytes(0) < 20_000 + 2 * (1000 + 128));
        }
    }
}
