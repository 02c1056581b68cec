//! Tables of levels that are the same for every image, computed before the upload.

use crate::augmentation::randaugment::change::Change;
use crate::augmentation::randaugment::ranges::Op;

/// Returns the tables of the changes whose tables do not depend on the image, 256 levels each.
pub(super) fn given(changes: &[Change]) -> Vec<u8> {
    let mut tables = Vec::with_capacity(256 * changes.len());
    for Change { op, amount, .. } in changes {
        match op {
            Op::Posterize => {
                let mask = !(255u32 >> *amount as u32) as u8;
                tables.extend((0..=255u8).map(|level| level & mask));
            }
            Op::Solarize => tables.extend((0..=255u8).map(|level| match f64::from(level) < *amount {
                true => level,
                false => 255 - level,
            })),
            _ => {}
        }
    }
    tables
}

/// Returns three rows of 256 numbers: the levels, and for each difference of the highest and the lowest level the factor
/// on a level that stretches it to 255 and that on the lowest level, which is then subtracted. A difference of 0 stays.
pub(super) fn stretches() -> Vec<f64> {
    let levels = (0..256).map(f64::from);
    let factors = levels.clone().skip(1).map(|difference| difference.recip() * 255.0);
    levels.chain([1.0]).chain(factors.clone()).chain([0.0]).chain(factors).collect()
}
