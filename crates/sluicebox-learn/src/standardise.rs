//! The network's input standardised: each feature of a vector less its mean in the stream so far, divided by its
//! standard deviation. The job owns the statistics, so that every source, `/predict` and exported files take samples
//! as they are. All samples of a step have the same scale, also labelled samples that came long before.
//!
//! ```
//! use sluicebox_core::sample::{Dtype, Format, Shape, Values};
//! use sluicebox_learn::standardise::Standardise;
//!
//! let classes = ["ant", "bee"].map(String::from).to_vec();
//! let format = Format { shape: Shape::Vector { features: 1 }, dtype: Dtype::F32, scale: 1.0, classes };
//! let mut standardise = Standardise::new(&format, 0);
//! standardise.add(&Values::F32(vec![1.0, 3.0]), &[]);
//! let scale = standardise.scale(tch::Device::Cpu);
//! let input = scale.apply(&tch::Tensor::from_slice(&[2.0f32, 2.0 + 2f32.sqrt()]).view([2, 1]));
//! let standardised = Vec::<f32>::try_from(input.view([-1])).unwrap();
//! assert!(standardised[0] == 0.0 && (standardised[1] - 1.0).abs() < 1e-6);
//! ```

use crate::device::upload::{Part, upload_all};
use crate::input::{scaled, tensor};
use crate::model::normalise::{self, Normalise};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Labelled, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_core::statistics::Statistics;
use tch::{Device, Kind, Tensor};

/// Maximum samples of a step that enter the statistics, evenly spaced: it bounds the cost of a large batch.
const SAMPLES_PER_STEP: usize = 64;
/// The state's name in messages.
const WHAT: &str = "the mean and deviation of the input";

/// `[input]`: what is done to samples before the network sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether vectors are standardised by the stream's running mean and deviation; images never are. By default where
    /// the network is a fresh `mlp`: it has neither weights of a file (`model.init`) nor `model.normalise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standardise: Option<bool>,
    /// Samples over which mean and deviation are taken: once there were so many, older ones fade. 0: all alike.
    pub horizon: u64,
}

impl document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let one = self.horizon == 1;
        Vec::from_iter(one.then(|| ("horizon", "one sample has no deviation; 0 is all samples".into())))
    }
}

/// Running statistics of the input. F features.
pub struct Standardise {
    statistics: Statistics,
    horizon: u64,
    format: Format,
}

/// The mean and the deviation at one step. Immutable.
#[derive(Debug)]
pub struct Scale {
    /// `[F]` f32.
    pub mean: Tensor,
    /// `[F]` f32; 1 for a constant feature.
    pub deviation: Tensor,
}

impl Standardise {
    /// Creates statistics of no sample. With a `horizon` the newest so many samples count most; 0: all alike.
    pub fn new(format: &Format, horizon: u64) -> Self {
        Self { statistics: Statistics::new(format.shape.len()), horizon, format: format.clone() }
    }

    /// Adds a labelled set, whose samples are known together.
    pub fn begin(&mut self, samples: &Labelled) {
        let rows = 0..samples.values.len() / self.format.shape.len();
        let rows: Vec<Vec<f64>> = rows.map(|at| self.row(&samples.values, at)).collect();
        if !rows.is_empty() {
            self.statistics.begin(&rows, self.horizon);
        }
    }

    /// Adds a step's samples, except those at the places `without`.
    pub fn add(&mut self, values: &Values, without: &[i64]) {
        let places = 0..values.len() / self.format.shape.len();
        let places: Vec<usize> = places.filter(|at| !without.contains(&(*at as i64))).collect();
        let used = places.len().min(SAMPLES_PER_STEP);
        for at in 0..used {
            let row = self.row(values, places[at * places.len() / used]);
            self.statistics.add(&row, self.horizon);
        }
    }

    /// Returns a value's distance from the mean of its feature, in deviations; none while too few samples are known.
    pub fn deviations(&self, feature: usize, value: f64) -> Option<f64> {
        let statistics = &self.statistics;
        let gap = value - statistics.mean(feature);
        statistics.is_settled(feature).then(|| gap / statistics.deviation(feature, self.horizon))
    }

    /// Returns mean and deviation as they are now, on a device.
    pub fn scale(&self, device: Device) -> Scale {
        let features = 0..self.statistics.features();
        let mean = features.clone().map(|feature| self.statistics.mean(feature) as f32);
        let deviation = features.map(|feature| self.statistics.deviation(feature, self.horizon) as f32);
        let (mean, deviation) = (Vec::from_iter(mean), Vec::from_iter(deviation));
        let shape = [mean.len() as i64];
        let [mean, deviation] = upload_all([Part::new(&mean, shape), Part::new(&deviation, shape)], device);
        Scale { mean, deviation }
    }

    fn row(&self, values: &Values, at: usize) -> Vec<f64> {
        let (scale, length) = (f64::from(self.format.scale), self.format.shape.len());
        let at = at * length..(at + 1) * length;
        match values {
            Values::U8(values) => values[at].iter().map(|value| f64::from(*value) * scale).collect(),
            Values::F32(values) => values[at].iter().map(|value| f64::from(*value) * scale).collect(),
        }
    }
}

impl Scale {
    /// Standardises samples `[N, F]` f32 on its device.
    pub fn apply(&self, input: &Tensor) -> Tensor {
        (input - &self.mean) / &self.deviation
    }

    /// Returns it as a part of a network.
    pub fn normalise(&self) -> std::result::Result<Normalise, tch::TchError> {
        let values =
            |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double).to_device(Device::Cpu));
        Ok(Normalise { mean: values(&self.mean)?, deviation: values(&self.deviation)? })
    }

    /// Returns its tensors under the names that they have as a part of a network.
    pub fn named(&self) -> [(String, Tensor); 2] {
        [("mean", &self.mean), ("deviation", &self.deviation)]
            .map(|(name, tensor)| (format!("{}{name}", normalise::PREFIX), tensor.shallow_clone()))
    }

    /// Returns the same scale, sharing memory.
    pub fn share(&self) -> Self {
        Self { mean: self.mean.shallow_clone(), deviation: self.deviation.shallow_clone() }
    }
}

/// Standardises samples by a scale, if there is one.
pub fn standardised(input: Tensor, scale: Option<&Scale>) -> Tensor {
    match scale {
        Some(scale) => scale.apply(&input),
        None => input,
    }
}

/// Returns values `[N, …]` as the network's input, f32 on the CPU.
pub fn input(values: &Values, format: &Format, scale: Option<&Scale>) -> Tensor {
    standardised(scaled(&tensor(values, format.shape), format.scale), scale)
}

impl Stateful for Standardise {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &self.statistics)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let statistics: Statistics = decode(WHAT, state)?;
        if statistics.features() != self.statistics.features() {
            return Err(Error::Request(format!("the state of {WHAT} does not fit the job")));
        }
        self.statistics = statistics;
        Ok(())
    }
}
