//! Answers by prototypes, one for each class, on the network's features: a sample is of the class whose prototype its features
//! point to. [`crate::stages::prototype_fit`] makes the prototypes.

use crate::loss::unit;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Logit of a class without a prototype.
const NEVER: f64 = -1e4;

/// Prototypes of C classes, on F features.
///
/// ```
/// use sluicebox_learn::adapt::prototypes::Prototypes;
/// use tch::Tensor;
///
/// let (mean, rows) = (vec![0.0, 0.0], vec![1.0, 0.0, 0.0, 1.0]);
/// let prototypes = Prototypes { mean, rows, present: vec![true, true], certainty: 10.0 };
/// let answers = prototypes.answer(&Tensor::from_slice2(&[[0.8f32, 0.6]]));
/// assert!((answers.double_value(&[0, 0]) - 0.8808).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prototypes {
    /// `[F]`: mean of features of length 1, which is taken off.
    pub mean: Vec<f32>,
    /// `[C, F]`: the prototypes.
    pub rows: Vec<f32>,
    /// `[C]`: whether the class has one.
    pub present: Vec<bool>,
    /// Factor on the cosines of features and prototypes, whose softmax is the answer.
    pub certainty: f64,
}

impl Prototypes {
    /// Returns the answers `[N, C]` f32, probabilities, to samples with features `[N, F]`.
    pub fn answer(&self, features: &Tensor) -> Tensor {
        let device = features.device();
        let mean = Tensor::from_slice(&self.mean).to_device(device);
        let rows = Tensor::from_slice(&self.rows).view([self.present.len() as i64, -1]).to_device(device);
        let absent = Tensor::from_slice(&self.present).logical_not().to_device(device);
        assigned(&centred(features, &mean), &rows, &absent, self.certainty)
    }
}

/// Scales features `[N, F]` to length 1, takes their `mean` `[F]` off, and scales what is left to length 1.
pub fn centred(features: &Tensor, mean: &Tensor) -> Tensor {
    unit(&(unit(features) - mean))
}

/// Returns the softmax of `certainty` times the cosines of `rows` `[N, F]`, of length 1, and prototypes `[C, F]`; a class that is
/// `absent` `[C]` gets nothing.
pub fn assigned(rows: &Tensor, prototypes: &Tensor, absent: &Tensor, certainty: f64) -> Tensor {
    let cosines = rows.matmul(&unit(prototypes).tr()) * certainty;
    cosines.masked_fill(absent, NEVER).softmax(1, Kind::Float)
}
