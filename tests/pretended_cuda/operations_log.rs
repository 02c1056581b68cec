//! The device's log of operations.

use std::path::Path;

/// One operation of the device. `device.cpp` explains the columns.
#[derive(Debug)]
pub struct Operation {
    pub stage: String,
    pub thread: u64,
    pub kind: String,
    pub name: String,
    pub waits: bool,
}

impl Operation {
    /// Whether it is work for the device, and not only an event.
    pub fn is_work(&self) -> bool {
        ["kernel", "upload", "download", "copy"].contains(&self.kind.as_str())
    }

    /// Whether the host waits for the event after a fetch.
    pub fn is_fetch_wait(&self) -> bool {
        self.name == "cudaEventSynchronize"
    }
}

/// Reads a log.
pub fn read(path: &Path) -> Vec<Operation> {
    let text = std::fs::read_to_string(path).unwrap();
    let operation = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        Operation {
            stage: columns[0].into(),
            thread: columns[1].parse().unwrap(),
            kind: columns[2].into(),
            name: columns[3].into(),
            waits: columns[4] == "wait",
        }
    };
    text.lines().map(operation).collect()
}

/// Returns the operations of the steps between the first and the last of a job, and how many steps these are. The last
/// one is left out, as its stages save their state and it is reported.
pub fn between(operations: &[Operation]) -> (&[Operation], usize) {
    // The teacher follows the student at the end of each step but the first, where it is the student. AdamW makes the
    // same operation once a step: a job with it counts half steps, and its last step is left out up to there.
    let follows = |(_, operation): &(usize, &Operation)| operation.name == "aten::lerp.Scalar_out";
    let ends: Vec<usize> = operations.iter().enumerate().filter(follows).map(|(at, _)| at).collect();
    assert!(ends.len() > 3, "{} steps are too few", ends.len());
    (&operations[ends[0]..ends[ends.len() - 2]], ends.len() - 2)
}
