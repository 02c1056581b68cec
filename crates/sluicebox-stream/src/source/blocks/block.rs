//! Samples that were read together, in an order drawn for them. They lie in pieces, so that a block of large ones never
//! has to move to where there is more room.

use crate::decode::Run;
use sluicebox_core::sample::{Format, Values};
use sluicebox_core::sample_id::SampleId;
use std::ops::Range;

/// Bytes of values in a piece, unless one sample has more.
const PIECE: usize = 1 << 20;

/// A block of samples in stream order.
pub struct Block {
    format: Format,
    /// All but the last that holds samples are full.
    pieces: Vec<Run>,
    /// Samples in a full piece.
    of_piece: usize,
    /// Samples in all pieces.
    count: usize,
    /// Of each sample of the stream its place among these and its index in the set. Those that do not stream are left out.
    pub order: Vec<(usize, usize)>,
}

impl Block {
    /// Creates a block without samples of a format.
    pub fn none(format: &Format) -> Self {
        let bytes = format.shape.len() * format.dtype.bytes();
        let of_piece = (PIECE / bytes.max(1)).max(1);
        Self { format: format.clone(), pieces: Vec::new(), of_piece, count: 0, order: Vec::new() }
    }

    /// Takes all samples out and keeps the room.
    pub fn clear(&mut self) {
        self.pieces.iter_mut().for_each(Run::clear);
        self.count = 0;
        self.order.clear();
    }

    /// Lets `fill` append at most `most` samples to a piece, and returns how many these are. The first has the given index
    /// in the set; those that are left out do not stream.
    pub fn append(
        &mut self,
        index: usize,
        most: usize,
        is_left_out: impl Fn(usize) -> bool,
        fill: impl FnOnce(usize, &mut Run) -> usize,
    ) -> usize {
        let piece = self.count / self.of_piece;
        if piece == self.pieces.len() {
            let mut run = Run::none(self.format.dtype);
            run.values.reserve(self.of_piece.min(most) * self.format.shape.len());
            self.pieces.push(run);
        }
        let run = &mut self.pieces[piece];
        let count = fill(most.min(self.of_piece - run.len()), run);
        let added = (0..count).map(|at| (self.count + at, index + at));
        self.order.extend(added.filter(|(_, index)| !is_left_out(*index)));
        self.count += count;
        count
    }

    /// Returns the values, the class and the id of the sample at a place.
    pub fn sample(&self, place: usize) -> (&Values, Range<usize>, Option<usize>, &Option<SampleId>) {
        let (run, at) = (&self.pieces[place / self.of_piece], place % self.of_piece);
        let length = self.format.shape.len();
        (&run.values, at * length..(at + 1) * length, run.classes[at], &run.ids[at])
    }
}
