//! What the operations of a call need to know of their samples: it travels to the device as one, and each round takes
//! its own part.

use crate::augmentation::randaugment::change::Change;
use crate::augmentation::randaugment::ranges::Family;
use crate::augmentation::randaugment::{axes, levels};
use crate::device::upload::{Part, upload_all};
use tch::{Device, Tensor};

/// Numbers on the device, in the order of the rounds and of their operations.
pub(super) struct Amounts {
    /// `[rounds + 1, B]` i64.
    orders: Tensor,
    /// `[2, G, 1, W]` and `[2, G, H, 1]` i32.
    axes: [Tensor; 2],
    /// `[T, 1, 256]` u8.
    tables: Tensor,
    /// `[F + 1, 1, 1, 1]` f32: factors, and 0.
    factors: Tensor,
    /// `[3, 256]` f64.
    pub stretches: Tensor,
    /// `[1, 1, 256]` i32: from 0 to 255.
    pub levels: Tensor,
    /// `[1]` i32: width of an image with a frame of one pixel.
    pub framed_width: Tensor,
    /// Numbers of orders, axes, tables and factors that were taken.
    taken: [i64; 4],
}

impl Amounts {
    /// Copies to a device what the changes of all rounds need, and the orders of the rounds.
    pub fn uploaded(
        rounds: &[Vec<Change>],
        orders: &[i64],
        [height, width]: [i64; 2],
        device: Device,
    ) -> Self {
        let of = |family: Family| -> Vec<Change> {
            rounds.iter().flatten().filter(|change| change.op.family() == family).copied().collect()
        };
        let (moves, blends) = (of(Family::Geometry), of(Family::Blends));
        let (columns, rows) = axes::axes(&moves, height, width);
        let tables = levels::given(&of(Family::Tables));
        let factors: Vec<f32> = blends.iter().map(|change| change.amount as f32).chain([0.0]).collect();
        let stretches = levels::stretches();
        let levels: Vec<i32> = (0..256).collect();
        let moves = moves.len() as i64;
        let framed_width = [width as i32 + 2];
        let [orders, columns, rows, tables, factors, stretches, levels, framed_width] = upload_all(
            [
                Part::new(orders, [rounds.len() as i64 + 1, (orders.len() / (rounds.len() + 1)) as i64]),
                Part::new(&columns, [2, moves, 1, width]),
                Part::new(&rows, [2, moves, height, 1]),
                Part::new(&tables, [tables.len() as i64 / 256, 1, 256]),
                Part::new(&factors, [factors.len() as i64, 1, 1, 1]),
                Part::new(&stretches, [3, 256]),
                Part::new(&levels, [1, 1, 256]),
                Part::new(&framed_width, [1]),
            ],
            device,
        );
        Self {
            orders,
            axes: [columns, rows],
            tables,
            factors,
            stretches,
            levels,
            framed_width,
            taken: [0; 4],
        }
    }

    /// Takes the next order: `[B]` i64.
    pub fn order(&mut self) -> Tensor {
        let row = self.orders.get(self.taken[0]);
        self.taken[0] += 1;
        row
    }

    /// Takes the contributions of columns and rows to the source coordinates of `count` samples.
    pub fn axes(&mut self, count: i64) -> [Tensor; 2] {
        let part = self.axes.each_ref().map(|axis| axis.narrow(1, self.taken[1], count));
        self.taken[1] += count;
        part
    }

    /// Takes the next `count` tables that do not depend on the image.
    pub fn tables(&mut self, count: i64) -> Tensor {
        let part = self.tables.narrow(0, self.taken[2], count);
        self.taken[2] += count;
        part
    }

    /// Takes the next `count` factors.
    pub fn factors(&mut self, count: i64) -> Tensor {
        let part = self.factors.narrow(0, self.taken[3], count);
        self.taken[3] += count;
        part
    }

    /// Returns `[1, 1, 1, 1]` f32: 0.
    pub fn zero(&self) -> Tensor {
        self.factors.narrow(0, self.factors.size()[0] - 1, 1)
    }
}
