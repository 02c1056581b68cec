//! Samples mixed with partners, for losses that mix targets in the same way: mixup (Zhang et al. 2018) and CutMix (Yun et al.
//! 2019), whose shares are drawn per sample, and copies of boxes of one size (Bai et al. 2023).

use crate::device::upload::upload;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use tch::{Device, Kind, Tensor};

/// A mixed batch of `N` samples.
#[derive(Debug)]
pub struct Mixed {
    /// The mixed samples, in the shape of the batch: `[N, …]` f32.
    pub input: Tensor,
    /// Index of each sample's partner, `[N]` i64: within the batch a permutation.
    pub partner: Tensor,
    /// Fraction of the sample itself in the mixture, 0 to 1: `[N]` f32.
    pub share: Tensor,
}

impl Mixed {
    /// Mixes target rows `[N, C]` f32 as the samples are mixed.
    pub fn targets(&self, rows: &Tensor) -> Tensor {
        self.targets_with(rows, rows)
    }

    /// The same where the partners are of another batch, with targets `others` `[M, C]` f32.
    pub fn targets_with(&self, rows: &Tensor, others: &Tensor) -> Tensor {
        others.index_select(0, &self.partner).lerp_tensor(rows, &self.share.unsqueeze(1))
    }

    /// Returns the share of each sample of the batch in each mixture: `[N, N]` f32.
    pub fn matrix(&self) -> Tensor {
        self.targets(&Tensor::eye(self.share.size()[0], (Kind::Float, self.share.device())))
    }
}

/// Distribution of shares: Beta(alpha, alpha), drawn independently for each sample.
#[derive(Debug, Clone)]
pub struct Shares {
    beta: Beta<f64>,
    dominant: bool,
}

impl Shares {
    /// Creates a distribution. With `dominant`, a share is at least one half, so that a sample stays
    /// mostly unchanged (MixMatch, Berthelot et al. 2019, eq. 9). Fails unless `alpha` is above 0.
    pub fn new(alpha: f64, dominant: bool) -> Result<Self> {
        let beta = Beta::new(alpha, alpha)
            .map_err(|_| Error::Request(format!("mixing with alpha = {alpha}: it must be above 0")))?;
        Ok(Self { beta, dominant })
    }

    fn draw(&self, draws: &mut Draws) -> f64 {
        let share = self.beta.sample(draws);
        if self.dominant { share.max(1.0 - share) } else { share }
    }
}

/// Mixes each sample of `batch` `[N, …]` f32 with its partner by a weighted mean; samples with `stays`
/// `[N]` bool remain unchanged.
pub fn mixup(batch: &Tensor, shares: &Shares, stays: Option<&Tensor>, draws: &mut Draws) -> Mixed {
    let partner = partners(batch.size()[0], batch.device(), draws);
    blended(batch, (batch, partner), shares, stays, draws)
}

/// Mixes each sample of `batch` `[N, …]` f32 with a random one of `others` `[M, …]` f32, M at least 1.
pub fn mixup_with(
    batch: &Tensor,
    others: &Tensor,
    shares: &Shares,
    stays: Option<&Tensor>,
    draws: &mut Draws,
) -> Mixed {
    let partner = any_of(others, batch, draws);
    blended(batch, (others, partner), shares, stays, draws)
}

fn blended(
    batch: &Tensor,
    (others, partner): (&Tensor, Tensor),
    shares: &Shares,
    stays: Option<&Tensor>,
    draws: &mut Draws,
) -> Mixed {
    let count = batch.size()[0];
    let share: Vec<f32> = (0..count).map(|_| shares.draw(draws) as f32).collect();
    let share = upload(&Tensor::from_slice(&share), batch.device());
    let share = stays.map_or(share.shallow_clone(), |stays| share.masked_fill(stays, 1.0));
    let shape: Vec<i64> = (0..batch.dim()).map(|axis| if axis == 0 { count } else { 1 }).collect();
    let input = others.index_select(0, &partner).lerp_tensor(batch, &share.view(shape.as_slice()));
    Mixed { input, partner, share }
}

/// Copies a box of a random image of `others` `[M, C, H, W]` f32, M at least 1, into each image of `batch` `[N, C, H, W]` f32,
/// to the same place. Its sides are `side` of the image's, rounded down but at least a pixel; it lies wholly within.
pub fn pasted(batch: &Tensor, others: &Tensor, side: f64, draws: &mut Draws) -> Mixed {
    let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
    let partner = any_of(others, batch, draws);
    let length = |all: i64| ((side * all as f64) as i64).clamp(1, all.max(1));
    let (tall, wide) = (length(height), length(width));
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (top, left) = (draws.random_range(0..=height - tall), draws.random_range(0..=width - wide));
        rows.extend((0..height).map(|pixel| (top..top + tall).contains(&pixel)));
        columns.extend((0..width).map(|pixel| (left..left + wide).contains(&pixel)));
    }
    let rows = upload(&Tensor::from_slice(&rows).view([count, 1, height, 1]), batch.device());
    let columns = upload(&Tensor::from_slice(&columns).view([count, 1, 1, width]), batch.device());
    let input = others.index_select(0, &partner).where_self(&rows.logical_and(&columns), batch);
    let share = 1.0 - (tall * wide) as f64 / (height * width) as f64;
    Mixed { input, partner, share: Tensor::full([count], share, (Kind::Float, batch.device())) }
}

/// Returns a random one of `others` for each sample of `batch`: `[N]` i64.
fn any_of(others: &Tensor, batch: &Tensor, draws: &mut Draws) -> Tensor {
    let partner: Vec<i64> = (0..batch.size()[0]).map(|_| draws.random_range(0..others.size()[0])).collect();
    upload(&Tensor::from_slice(&partner), batch.device())
}

/// Replaces a box of each image of `batch` `[N, C, H, W]` f32 by that of its partner. The border cuts
/// the box off, and the share is the remaining area; so a dominant share can only grow.
pub fn cutmix(batch: &Tensor, shares: &Shares, draws: &mut Draws) -> Mixed {
    let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
    let partner = partners(count, batch.device(), draws);
    let (mut rows, mut columns, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let part = (1.0 - shares.draw(draws)).sqrt();
        let (across, along) = (span(height, part, draws), span(width, part, draws));
        share.push(1.0 - (across.len() * along.len()) as f32 / (height * width) as f32);
        rows.extend((0..height).map(|pixel| across.contains(&(pixel as usize))));
        columns.extend((0..width).map(|pixel| along.contains(&(pixel as usize))));
    }
    let device = batch.device();
    let rows = upload(&Tensor::from_slice(&rows).view([count, 1, height, 1]), device);
    let columns = upload(&Tensor::from_slice(&columns).view([count, 1, 1, width]), device);
    let input = batch.index_select(0, &partner).where_self(&rows.logical_and(&columns), batch);
    Mixed { input, partner, share: upload(&Tensor::from_slice(&share), device) }
}

fn partners(count: i64, device: Device, draws: &mut Draws) -> Tensor {
    let mut partners: Vec<i64> = (0..count).collect();
    partners.shuffle(draws);
    upload(&Tensor::from_slice(&partners), device)
}

/// Returns the pixels of a box's side: `part` · `side` pixels around a random pixel.
fn span(side: i64, part: f64, draws: &mut Draws) -> std::ops::Range<usize> {
    let length = (part * side as f64) as i64;
    let start = draws.random_range(0..side) - length / 2;
    start.max(0) as usize..(start + length).min(side) as usize
}
