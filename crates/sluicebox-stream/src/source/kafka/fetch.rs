//! Thread that fetches a topic ahead into one bounded queue per partition. A partition with a full
//! queue is paused while polling continues, so that the brokers keep the client.

use crate::source::kafka::message::{Decoder, Message};
use crate::source::kafka::place::Envelope;
use crate::source::kafka::topic::Topic;
use parking_lot::{Mutex, MutexGuard};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use sluicebox_core::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Timeout of a poll; also the delay until a paused partition can resume.
const POLL: Duration = Duration::from_millis(10);
/// Interval at which the ends of the partitions are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The same after a look that no broker answered: the wait for it holds up the messages of others.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Interval at which the list of partitions is refreshed.
const REFRESH: Duration = Duration::from_secs(10);

/// Messages of one partition that have arrived and are not read.
pub struct Queue {
    /// Offset at which the queue began.
    pub first: i64,
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Queue {
    fn new(first: i64) -> Self {
        Self { first, messages: VecDeque::new(), bytes: 0 }
    }

    /// Returns whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the next message without removing it.
    pub fn front(&self) -> Option<&Message> {
        self.messages.front()
    }

    /// Removes and returns the next message.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes();
        Some(message)
    }
}

/// State shared by the thread and the reader.
#[derive(Default)]
pub struct Fetched {
    /// Queues by partition.
    pub queues: BTreeMap<i32, Queue>,
    /// Offset after the last message of each partition, as of the last look.
    pub ends: BTreeMap<i32, i64>,
    fault: Option<Error>,
}

struct Shared {
    fetched: Mutex<Fetched>,
    stop: Arc<AtomicBool>,
}

/// A topic that is being fetched; dropping it stops the thread.
pub struct Fetcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Fetcher {
    /// Starts fetching each partition from its offset in `next`. Over all partitions, up to
    /// `buffer_bytes` of samples may wait. Sets `stop` once it is dropped.
    pub fn start(
        topic: Topic,
        next: BTreeMap<i32, i64>,
        decoder: Decoder,
        buffer_bytes: usize,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared { fetched: Mutex::default(), stop });
        let mut poller = Poller {
            share: 0,
            paused: BTreeSet::new(),
            refreshed: Instant::now(),
            look_at: None,
            gap: false,
            unknown: None,
            troubled: false,
            shared: shared.clone(),
            next: BTreeMap::new(),
            topic,
            decoder,
            buffer_bytes,
        };
        let thread = std::thread::Builder::new().name("kafka".into()).spawn(move || {
            if let Err(error) = poller.run(next) {
                poller.fetched().fault = Some(error);
            }
        });
        let thread = thread.map_err(|error| Error::Engine(format!("cannot fetch from Kafka: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Locks and returns the fetched messages. Fails if fetching has ended.
    pub fn fetched(&self) -> Result<MutexGuard<'_, Fetched>> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let mut fetched = self.shared.fetched.lock();
        match fetched.fault.take() {
            Some(fault) => Err(fault),
            None if ended => Err(Error::Engine("the thread that fetches from Kafka has ended".into())),
            None => Ok(fetched),
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // the panic hook has reported its panic
        }
    }
}

struct Poller {
    topic: Topic,
    decoder: Decoder,
    buffer_bytes: usize,
    shared: Arc<Shared>,
    /// Next offset of each partition that is fetched.
    next: BTreeMap<i32, i64>,
    /// Bytes that may wait per partition; one message always may.
    share: usize,
    paused: BTreeSet<i32>,
    refreshed: Instant,
    /// Time of the next look at the ends of the partitions.
    look_at: Option<Instant>,
    /// Whether messages may be missing.
    gap: bool,
    /// Time since which the brokers do not know the topic.
    unknown: Option<Instant>,
    /// Whether a warning that no messages arrive was issued.
    troubled: bool,
}

impl Poller {
    fn fetched(&self) -> MutexGuard<'_, Fetched> {
        self.shared.fetched.lock()
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn run(&mut self, next: BTreeMap<i32, i64>) -> Result<()> {
        for (partition, offset) in next {
            let bounds = loop {
                match self.topic.bounds(partition)? {
                    Some(bounds) => break bounds,
                    None if self.stops() => return Ok(()),
                    None => std::thread::sleep(POLL),
                }
            };
            let offset = self.topic.after_gap(partition, offset, &bounds)?;
            self.begin(partition, offset)?;
        }
        while !self.stops() {
            let polled = match self.topic.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let content = decode(&self.topic, &mut self.decoder, &message)?;
                    Some(Ok((message.partition(), content)))
                }
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            match polled {
                Some(Ok((partition, message))) => self.accept(partition, message)?,
                Some(Err(error)) => self.hear(&error)?,
                None => {}
            }
            self.resume()?;
            if self.look_at.is_none_or(|at| Instant::now() >= at) {
                let partitions: Vec<i32> = self.next.keys().copied().collect();
                let ends = self.topic.ends(&partitions)?;
                let next = if ends.is_some() { LOOK } else { LOOK_AGAIN };
                self.look_at = Some(Instant::now() + next);
                self.fetched().ends.extend(ends.into_iter().flatten());
            }
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

    /// Starts fetching a partition at `offset`.
    fn begin(&mut self, partition: i32, offset: i64) -> Result<()> {
        self.next.insert(partition, offset);
        self.share = self.buffer_bytes / self.next.len();
        self.fetched().queues.entry(partition).or_insert_with(|| Queue::new(offset));
        let list = self.topic.list(&[partition], Offset::Offset(offset))?;
        self.topic.consumer.incremental_assign(&list).map_err(|error| self.topic.fault(error))
    }

    fn accept(&mut self, partition: i32, message: Message) -> Result<()> {
        self.unknown = None;
        if std::mem::take(&mut self.troubled) {
            self.topic.warn("it is read again");
        }
        let next = self.next.entry(partition).or_insert(message.offset);
        if message.offset < *next {
            return Ok(()); // it was fetched before
        }
        *next = message.offset + 1;
        let mut fetched = self.fetched();
        let queue = fetched.queues.entry(partition).or_insert_with(|| Queue::new(message.offset));
        queue.bytes += message.bytes();
        queue.messages.push_back(message);
        let full = queue.bytes >= self.share;
        drop(fetched);
        if full && self.paused.insert(partition) {
            let list = self.topic.list(&[partition], Offset::Invalid)?;
            self.topic.consumer.pause(&list).map_err(|error| self.topic.fault(error))?;
        }
        Ok(())
    }

    /// Resumes paused partitions once half of their queue is read.
    fn resume(&mut self) -> Result<()> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let fetched = self.fetched();
        let has_room =
            |partition: &&i32| fetched.queues.get(partition).is_none_or(|q| q.bytes <= self.share / 2);
        let ready: Vec<i32> = self.paused.iter().filter(has_room).copied().collect();
        drop(fetched);
        if !ready.is_empty() {
            self.paused.retain(|partition| !ready.contains(partition));
            let list = self.topic.list(&ready, Offset::Invalid)?;
            self.topic.consumer.resume(&list).map_err(|error| self.topic.fault(error))?;
        }
        Ok(())
    }

    /// Handles an error that librdkafka reports. librdkafka reconnects by itself.
    fn hear(&mut self, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode as Code;
        let reason = self.topic.consumer.context().reason(error);
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(self.topic.fault(reason));
        }
        match error.rdkafka_error_code() {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => {
                self.gap = true;
                return Ok(());
            }
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                self.refresh()?;
            }
            // Partitions are assigned manually: no group is needed.
            Some(Code::GroupAuthorizationFailed) => return Ok(()),
            _ => {}
        }
        if !std::mem::replace(&mut self.troubled, true) {
            self.topic.warn(format!("{reason}; waiting until it can be read again"));
        }
        Ok(())
    }

    /// Looks for new partitions; they are read from their beginning.
    fn refresh(&mut self) -> Result<()> {
        let Ok(partitions) = self.topic.partitions() else {
            return Ok(()); // no broker answers at present
        };
        let Some(partitions) = partitions else {
            let since = *self.unknown.get_or_insert_with(Instant::now);
            return match since.elapsed() >= self.topic.patience {
                true => Err(self.topic.fault("the brokers no longer have it; was it deleted?")),
                false => Ok(()),
            };
        };
        self.unknown = None;
        for partition in partitions {
            if !self.next.contains_key(&partition)
                && let Some(bounds) = self.topic.bounds(partition)?
            {
                self.begin(partition, bounds.low)?;
            }
        }
        Ok(())
    }

    /// Finds gaps of deleted messages and continues after them, or fails.
    fn close_gaps(&mut self) -> Result<()> {
        for (partition, offset) in self.next.clone() {
            if self.paused.contains(&partition) {
                continue; // it reports the gap once it resumes
            }
            let Some(bounds) = self.topic.bounds(partition)? else { return Ok(()) };
            let after = self.topic.after_gap(partition, offset, &bounds)?;
            if after != offset {
                let list = self.topic.list(&[partition], Offset::Invalid)?;
                let unassigned = self.topic.consumer.incremental_unassign(&list);
                unassigned.map_err(|error| self.topic.fault(error))?;
                self.begin(partition, after)?;
            }
        }
        self.gap = false;
        Ok(())
    }
}

/// Decodes a message of the topic.
fn decode(topic: &Topic, decoder: &mut Decoder, message: &BorrowedMessage<'_>) -> Result<Message> {
    let (partition, offset) = (message.partition(), message.offset());
    let Some(id) = place_id(partition, offset) else {
        return Err(topic.fault(format!("message {offset} of partition {partition} has no id: {TOO_FAR}")));
    };
    let around = Envelope { key: message.key(), headers: message.headers() };
    Ok(Message { offset, content: decoder.decode(id, around, message.payload())? })
}

const TOO_FAR: &str = "ids exist for partitions up to 4095 and offsets below 2^40";

/// Returns the id of the sample at an offset of a partition.
fn place_id(partition: i32, offset: i64) -> Option<u64> {
    let (partition, offset) = (u64::try_from(partition).ok()?, u64::try_from(offset).ok()?);
    (partition < 1 << 12 && offset < 1 << 40).then_some(partition << 40 | offset)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::decode::Keys;
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    #[test]
    fn a_full_queue_pauses_its_partition_and_no_other() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("samples", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers());
        let producer: BaseProducer = config.create().unwrap();
        let send = |partition, count| {
            for _ in 0..count {
                let record = BaseRecord::<(), [u8]>::to("samples").partition(partition).payload(&[1; 1000]);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(Duration::from_secs(30)).unwrap();
        };
        send(0, 500);
        let options: Settings = toml::from_str(&format!(
            "brokers = \"{}\"\ntopic = \"samples\"\nencoding = \"raw\"\nshape = [1000]\ndtype = \"u8\"\n\
             classes = [\"cat\", \"dog\"]",
            mock.bootstrap_servers()
        ))
        .unwrap();
        let (format, keys) = (options.sample_format().format(), Keys::default());
        let (encoding, id, label) = (options.encoding, options.id.clone(), options.label.clone());
        let decoder = Decoder { encoding, id, label, format, keys, pixels: None, schemas: None };
        let (topic, partitions) = Topic::reach(&options).unwrap();
        assert_eq!(partitions, [0, 1]);
        let fetcher =
            Fetcher::start(topic, BTreeMap::from([(0, 0), (1, 0)]), decoder, 40_000, Arc::default()).unwrap();
        let bytes = |partition: i32| fetcher.fetched().unwrap().queues.get(&partition).map_or(0, |q| q.bytes);
        let wait = |until: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !until() {
                assert!(began.elapsed() < Duration::from_secs(30));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait(&|| bytes(0) >= 20_000);
        // Nothing reads partition 0; messages of the other partition still arrive.
        send(1, 5);
        wait(&|| bytes(1) >= 5_000);
        assert!(bytes(0) < 20_000 + 2 * (1000 + 128), "{}", bytes(0));
        // Once there is room, the partition continues where it was paused.
        let mut next = 0;
        while next < 500 {
            let message = fetcher.fetched().unwrap().queues.get_mut(&0).and_then(Queue::pop);
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
