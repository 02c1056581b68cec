//! The newest rows of a stream of rows.

use tch::Tensor;

/// Returns the last `most` rows of `held` `[H, …]` followed by `new` `[N, …]`.
pub fn keep_newest_rows(held: &Tensor, new: &Tensor, most: i64) -> Tensor {
    let all = Tensor::cat(&[held, new], 0);
    let count = all.size()[0];
    all.narrow(0, (count - most).max(0), count.min(most))
}
