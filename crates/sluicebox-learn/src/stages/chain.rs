//! The sum of a team whose workers are in several processes. It goes along the processes in pieces, in the order of the workers:
//! each process adds its workers' numbers to what came from the one before, and the last one has the sum. So it has the same
//! bits however the workers are dealt over processes, and each process sends and receives every number once on the way up,
//! however many workers it has.

use sluicebox_core::error::{Error, Result};
use std::fmt::Debug;
use std::ops::Range;
use tch::{Device, Tensor};

/// Numbers in a piece, 256 KiB: small against a gradient, so that processes add at the same time, and large against what a
/// message costs.
pub const PIECE: i64 = 1 << 16;

/// What comes from another process.
#[derive(Debug)]
pub struct Arrived {
    /// Index of the piece.
    pub piece: usize,
    /// Whether all workers are in it; else those of the processes before.
    pub whole: bool,
    /// `[n]` f32
    pub sum: Tensor,
}

/// A process's place in the chain of processes.
pub trait Chain: Send + Sync + Debug {
    /// Whether it has the first workers.
    fn is_first(&self) -> bool;

    /// Whether it has the last workers.
    fn is_last(&self) -> bool;

    /// Hands a piece on to the next process; the last process hands the whole piece to all others.
    ///
    /// # Errors
    /// [`Error::Engine`] if the processes have parted.
    fn pass(&self, piece: usize, sum: &Tensor) -> Result<()>;

    /// Waits for the next piece that is for the `worker`th of this process: piece i is for worker i modulo their number.
    ///
    /// # Errors
    /// [`Error::Engine`] if the processes have parted.
    fn receive(&self, worker: usize) -> Result<Arrived>;

    /// Ends every wait: a worker of this process has ended, by a `failure` or not.
    fn close(&self, failure: Option<&Error>);
}

/// Returns the pieces of `count` numbers.
pub fn pieces(count: i64) -> Vec<Range<i64>> {
    (0..count).step_by(PIECE as usize).map(|start| start..(start + PIECE).min(count)).collect()
}

/// Adds up the `own` pieces with the other processes: those that are for the `worker`th of this process. `given` is what the
/// process's workers give, in their order. The sums are on `device`.
pub fn add(
    chain: &dyn Chain,
    worker: usize,
    given: &[Tensor],
    own: &[(usize, Range<i64>)],
    device: Device,
) -> Result<Vec<Tensor>> {
    let mut sums: Vec<Option<Tensor>> = own.iter().map(|_| None).collect();
    let with_own = |before: Option<Tensor>, range: &Range<i64>| {
        let parts = given.iter().map(|given| part(given, range).to_device(device));
        // Not in place: what was given is still needed.
        parts.fold(before, |sum, part| Some(sum.map_or_else(|| part.shallow_clone(), |sum| sum + &part)))
    };
    let mut missing = own.len();
    if chain.is_first() {
        for (piece, range) in own {
            let sum = with_own(None, range).ok_or_else(lost)?;
            chain.pass(*piece, &sum)?;
        }
    }
    while missing > 0 {
        let Arrived { piece, whole, sum } = chain.receive(worker)?;
        let at = own.binary_search_by_key(&piece, |(own, _)| *own).map_err(|_| lost())?;
        let range = &own[at].1;
        if sum.size() != [range.end - range.start] || sums[at].is_some() {
            return Err(lost());
        }
        let sum = sum.to_device(device);
        if whole {
            sums[at] = Some(sum);
            missing -= 1;
            continue;
        }
        let sum = with_own(Some(sum), range).ok_or_else(lost)?;
        chain.pass(piece, &sum)?;
        if chain.is_last() {
            sums[at] = Some(sum);
            missing -= 1;
        }
    }
    Ok(sums.into_iter().flatten().collect())
}

/// Returns a range of a tensor.
pub fn part(tensor: &Tensor, range: &Range<i64>) -> Tensor {
    tensor.narrow(0, range.start, range.end - range.start)
}

fn lost() -> Error {
    Error::Engine("processes do not agree on what is added up".into())
}
