//! Samples mixed with partners of the same batch, for losses that mix targets in the same way: mixup
//! (Zhang et al. 2018) and CutMix (Yun et al. 2019). The share is drawn per sample.

use crate::device::upload::upload;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use tch::{Device, Tensor};

/// A mixed batch of `N` samples.
#[derive(Debug)]
pub struct Mixed {
    /// The mixed samples, in the shape of the batch: `[N, …]` f32.
    pub input: Tensor,
    /// Index of each sample's partner in the batch: a permutation, `[N]` i64.
    pub partner: Tensor,
    /// Fraction of the sample itself in the mixture, 0 to 1: `[N]` f32.
    pub share: Tensor,
}

impl Mixed {
    /// Mixes target rows `[N, C]` f32 as the samples are mixed.
    pub fn targets(&self, rows: &Tensor) -> Tensor {
        rows.index_select(0, &self.partner).lerp_tensor(rows, &self.share.unsqueeze(1))
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
    let count = batch.size()[0];
    let partner = partners(count, batch.device(), draws);
    let share: Vec<f32> = (0..count).map(|_| shares.draw(draws) as f32).collect();
    let share = upload(&Tensor::from_slice(&share), batch.device());
    let share = stays.map_or(share.shallow_clone(), |stays| share.masked_fill(stays, 1.0));
    let shape: Vec<i64> = (0..batch.dim()).map(|axis| if axis == 0 { count } else { 1 }).collect();
    let input = batch.index_select(0, &partner).lerp_tensor(batch, &share.view(shape.as_slice()));
    Mixed { input, partner, share }
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
