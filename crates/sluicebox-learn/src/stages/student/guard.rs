//! The guard of an update: where loss or gradient is not finite, what the update and its forward pass changed is put
//! back.

use crate::torch::copied;
use tch::Tensor;

/// Tensors as they were before an update.
pub struct Before(Vec<Tensor>);

impl Before {
    /// Copies the tensors.
    pub fn of<'a>(tensors: impl IntoIterator<Item = &'a mut Tensor>) -> Self {
        Self(tensors.into_iter().map(|tensor| copied(tensor)).collect())
    }

    /// Puts the tensors back.
    pub fn restore<'a>(self, tensors: impl IntoIterator<Item = &'a mut Tensor>) {
        for (now, before) in tensors.into_iter().zip(self.0) {
            now.copy_(&before);
        }
    }

    /// Puts the tensors back unless `fit`, a bool on their device: the host learns nothing of it and does not wait.
    pub fn restore_unless<'a>(self, fit: &Tensor, tensors: impl IntoIterator<Item = &'a mut Tensor>) {
        for (now, before) in tensors.into_iter().zip(self.0) {
            let _ = now.where_self_out(now, fit, &before);
        }
    }
}

/// Returns a scalar on the device that is 0 where both numbers are finite, and else NaN.
pub fn gap(norm: &Tensor, loss: &Tensor) -> Tensor {
    (norm + loss) * 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_put_back_on_either_device() {
        let scalar = |value: f32| Tensor::from(value);
        for (norm, loss, fits) in [
            (1.0, 2.0, true),
            (f32::MAX, -f32::MAX, true),
            (f32::INFINITY, 1.0, false),
            (1.0, f32::NAN, false),
            (f32::INFINITY, f32::NEG_INFINITY, false),
        ] {
            let gap = gap(&scalar(norm), &scalar(loss));
            assert_eq!(gap.double_value(&[]) == 0.0, fits, "{norm} {loss}");
            let mut weights = Tensor::from_slice(&[1.0f32, 2.0]);
            let view = weights.narrow(0, 1, 1);
            let before = Before::of([&mut weights]);
            let _ = weights.g_add_scalar_(f64::NAN);
            before.restore_unless(&gap.eq(0.0), [&mut weights]);
            assert_eq!(view.double_value(&[0]).is_nan(), fits);
        }
        let mut weights = Tensor::from_slice(&[1.0f32]);
        let before = Before::of([&mut weights]);
        let _ = weights.g_add_scalar_(1.0);
        before.restore([&mut weights]);
        assert_eq!(weights.double_value(&[0]), 1.0);
    }
}
