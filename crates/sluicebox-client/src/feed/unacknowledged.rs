//! Unacknowledged queue: samples read but not yet acknowledged, to be sent again on the next
//! connection.

use crate::feed::connection::Failure;
use sluicebox_core::sample::Block;
use sluicebox_stream::protocol::name_bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most bytes of values and names held, unless one frame has more.
const MOST_BYTES: usize = 32 << 20;
/// Most frames held.
const MOST_FRAMES: usize = 1024;

/// Samples of one frame.
pub struct Outgoing {
    /// Number of the first sample.
    pub first: u64,
    /// Number of samples.
    pub count: u64,
    /// The samples.
    pub block: Block,
}

/// Unacknowledged queue of frames, oldest first.
pub struct Unacknowledged {
    frames: VecDeque<Arc<Outgoing>>,
    bytes: usize,
    /// Number of the next sample to be read.
    next: u64,
    acknowledged: u64,
    /// Samples that the job had before the first connection.
    before: u64,
    /// Samples whose ids the job already knew: on this connection, and on earlier ones.
    repeated: u64,
    repeated_before: u64,
    /// Labels of acknowledged samples.
    labels: u64,
}

impl Unacknowledged {
    /// Creates an empty queue; the job already has `before` samples.
    pub fn new(before: u64) -> Self {
        let (frames, bytes, repeated, repeated_before, labels) = (VecDeque::new(), 0, 0, 0, 0);
        Self { frames, bytes, next: before, acknowledged: before, before, repeated, repeated_before, labels }
    }

    /// Appends the next samples as a frame.
    pub fn push(&mut self, block: Block, count: u64) -> Arc<Outgoing> {
        self.bytes += size(&block);
        let frame = Arc::new(Outgoing { first: self.next, count, block });
        self.next += count;
        self.frames.push_back(frame.clone());
        frame
    }

    /// Returns the frame that begins with sample `number`.
    pub fn at(&self, number: u64) -> Option<Arc<Outgoing>> {
        let at = self.frames.partition_point(|frame| frame.first < number);
        self.frames.get(at).cloned()
    }

    /// Returns whether reading must wait.
    pub fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.frames.len() >= MOST_FRAMES
    }

    /// Drops the frames before sample `number`, which the job has.
    pub fn acknowledge(&mut self, number: u64, repeated: u64) {
        self.acknowledged = self.acknowledged.max(number.min(self.next));
        self.repeated = repeated;
        while self.frames.front().is_some_and(|frame| frame.first + frame.count <= number) {
            let gone = self.frames.pop_front();
            let (bytes, labels) = gone.map_or((0, 0), |gone| (size(&gone.block), gone.block.classes.len()));
            self.bytes -= bytes;
            self.labels += labels as u64;
        }
    }

    /// Continues on a new connection, where the job has everything before sample `number`.
    pub fn resume(&mut self, number: u64) -> Result<(), Failure> {
        if number < self.acknowledged {
            return Err(Failure::Lasting(format!(
                "the job has forgotten samples that it acknowledged: it knows {number} of {} (started with \
                 --fresh?); run the same command again to send all of them",
                self.acknowledged
            )));
        }
        if number > self.next {
            let reason = "another feeder uses the same client id; each needs its own (--client-id)";
            return Err(Failure::Lasting(reason.into()));
        }
        self.repeated_before += std::mem::take(&mut self.repeated);
        self.acknowledge(number, 0);
        // If the job took only the start of a frame, the rest is sent.
        if let Some(frame) = self.frames.front_mut().filter(|frame| frame.first < number) {
            let gone = (number - frame.first) as usize;
            let sample = frame.block.bytes.len() / frame.count as usize;
            let ids = frame.block.ids.iter().skip(gone).copied().collect();
            let rest = gone..frame.count as usize;
            let (names, classes) = (frame.block.names_in(rest.clone()), frame.block.classes_in(rest));
            self.labels += (frame.block.classes.len() - classes.len()) as u64;
            let block = Block { ids, names, classes, bytes: frame.block.bytes[gone * sample..].to_vec() };
            self.bytes -= size(&frame.block) - size(&block);
            *frame = Arc::new(Outgoing { first: number, count: frame.count - gone as u64, block });
        }
        Ok(())
    }

    /// Returns the number of samples that the job has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Returns how many of them it had already.
    pub fn known(&self) -> u64 {
        self.before + self.repeated_before + self.repeated
    }

    /// Returns how many of them this run sent with a label.
    pub fn labels(&self) -> u64 {
        self.labels
    }

    /// Returns the number of unacknowledged samples.
    pub fn waiting(&self) -> u64 {
        self.next - self.acknowledged
    }
}

fn size(block: &Block) -> usize {
    block.bytes.len() + block.names.iter().map(|one| name_bytes(&one.name)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::SampleClass;
    use sluicebox_core::sample_id::{IdName, SampleName};

    fn block(from: u8, to: u8) -> Block {
        let class = |number: u8| SampleClass { at: u32::from(number - from), class: u32::from(number) };
        let name = |number: u8| IdName { is_number: false, text: number.to_string() };
        let name = |number: u8| SampleName { at: u32::from(number - from), name: name(number) };
        Block {
            ids: (from..to).map(u64::from).collect(),
            names: (from..to).filter(|number| number % 4 == 1).map(name).collect(),
            classes: (from..to).filter(|number| number % 3 != 0).map(class).collect(),
            bytes: (from..to).flat_map(|v| [v, v]).collect(),
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let mut unacknowledged = Unacknowledged::new(10);
        unacknowledged.push(block(10, 14), 4);
        unacknowledged.push(block(14, 20), 6);
        assert_eq!(unacknowledged.at(10).unwrap().count, 4);
        assert_eq!(unacknowledged.at(14).unwrap().count, 6);
        assert!(unacknowledged.at(20).is_none());
        unacknowledged.acknowledge(14, 1);
        assert_eq!(
            (unacknowledged.acknowledged(), unacknowledged.waiting(), unacknowledged.known()),
            (14, 6, 11)
        );
        unacknowledged.resume(16).unwrap();
        let frame = unacknowledged.at(16).unwrap();
        assert_eq!((frame.first, frame.count, &frame.block), (16, 4, &block(16, 20)));
        // 17 has a name, which takes 13 bytes and its text.
        assert_eq!((unacknowledged.bytes, unacknowledged.known(), unacknowledged.labels()), (8 + 15, 11, 4));
        unacknowledged.acknowledge(20, 2);
        assert_eq!((unacknowledged.bytes, unacknowledged.waiting(), unacknowledged.known()), (0, 0, 13));
        assert_eq!(unacknowledged.labels(), 7, "all but 12, 15 and 18");
        assert!(
            matches!(unacknowledged.resume(19), Err(Failure::Lasting(text)) if text.contains("19 of 20"))
        );
        assert!(
            matches!(unacknowledged.resume(21), Err(Failure::Lasting(text)) if text.contains("another feeder"))
        );
    }
}
