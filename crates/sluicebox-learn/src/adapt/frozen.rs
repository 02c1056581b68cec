//! Answers for other programs: what makes them beside the network, as named tensors and numbers, for
//! `sluicebox.answer` of the Python package. They are frozen: shares, the rows among which a value is ranked, labelled
//! rows and class prior stay as they are at that moment.

use crate::adapt::correction::{LEAST, LEAST_OF_NETWORK, PriorCorrection};
use crate::adapt::discriminant::Discriminants;
use crate::adapt::experts::Snapshot;
use crate::adapt::features::{grid, hashes, is_hashed};
use crate::adapt::forest::{Forest, Nodes};
use crate::adapt::learned::{Group, Kind};
use crate::adapt::neighbours::{K, WINDOWS};
use crate::adapt::random_features::{COUNT, RandomFeatures};
use crate::adapt::scaling::{CUT, VALUES};
use crate::adapt::shares;
use serde::Serialize;
use sluicebox_core::error::Result;
use sluicebox_core::sample::Shape;
use tch::{Device, Tensor};

/// Number of the form that is written. Whoever changes what the tensors mean raises it, here and in `answer.py`.
const FORM: u32 = 2;
/// First part of the tensors' names: no network has it.
const PREFIX: &str = "sluicebox.answer";
/// Names of the two halves of a scaled row.
const HALVES: [&str; 2] = ["standardised", "ranks"];

/// What makes the answers beside the network.
#[derive(Debug)]
pub struct Frozen {
    /// Tensors by their names, on the CPU.
    pub tensors: Vec<(String, Tensor)>,
    /// Numbers and names.
    pub about: About,
}

/// Numbers and names with which the tensors are used.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    form: u32,
    /// Exponent on the blended probabilities before the shift.
    temper: f64,
    /// Kinds of experts in the order of their shares; none: the network has no experts beside it.
    kinds: Vec<Kind>,
    /// Height and width of the grid over an image whose means are the experts' features.
    grid: Option<[i64; 2]>,
    /// Standardised values are cut at this many deviations.
    cut: f32,
    /// Votes of nearest neighbours, and how many of the newest labelled rows are looked at.
    votes: usize,
    windows: [usize; 2],
    /// Least probabilities: of anyone, of the network in the blend, and of an expert.
    least: f64,
    least_of_network: f64,
    least_of_expert: f64,
}

impl Frozen {
    /// Freezes answers; without a `correction` they are the network's probabilities.
    pub fn new(correction: Option<&PriorCorrection>) -> Result<Self> {
        let about = About {
            form: FORM,
            temper: 1.0,
            kinds: Vec::new(),
            grid: None,
            cut: CUT,
            votes: K,
            windows: WINDOWS,
            least: f64::from(LEAST),
            least_of_network: f64::from(LEAST_OF_NETWORK),
            least_of_expert: shares::LEAST,
        };
        let mut frozen = Self { tensors: Vec::new(), about };
        if let Some(correction) = correction {
            frozen.about.temper = f64::from(correction.temper);
            let (shares, shifts): (Vec<f32>, Vec<&[f32]>) =
                correction.shifts.iter().map(|shift| (shift.share, &shift.of_class[..])).unzip();
            frozen.put("shifts", &Tensor::from_slice2(&shifts));
            frozen.put("shifts.shares", &Tensor::from_slice(&shares));
            if let (Some(shares), Some(experts)) = (&correction.shares, &correction.experts) {
                frozen.put("shares", &Tensor::from_slice(shares));
                frozen.put_features(correction.shape);
                frozen.put_experts(experts)?;
            }
        }
        Ok(frozen)
    }

    fn put(&mut self, name: &str, tensor: &Tensor) {
        self.tensors.push((format!("{PREFIX}.{name}"), tensor.to_device(Device::Cpu).contiguous()));
    }

    /// Adds how the experts' features are made of a sample.
    fn put_features(&mut self, shape: Shape) {
        match shape {
            Shape::Image { channels, height, width } => self.about.grid = Some(grid(channels, height, width)),
            Shape::Vector { features } if is_hashed(shape) => {
                let (places, signs) = hashes(features);
                self.put("hash.places", &Tensor::from_slice(&places));
                self.put("hash.signs", &Tensor::from_slice(&signs));
            }
            Shape::Vector { .. } => {}
        }
    }

    fn put_experts(&mut self, experts: &Snapshot) -> Result<()> {
        let Snapshot { learned, random } = experts;
        let (features, moments) = (learned.features as i64, &learned.scaling.moments);
        let means: Vec<f64> = moments.iter().map(|moments| moments.mean).collect();
        let deviations: Vec<f64> = moments.iter().map(|moments| moments.deviation()).collect();
        self.put("scaling.mean", &Tensor::from_slice(&means));
        self.put("scaling.deviation", &Tensor::from_slice(&deviations));
        self.put(
            "scaling.newest",
            &Tensor::from_slice(&learned.scaling.sorted.concat()).view([features, -1]),
        );
        self.put("scaling.values", &Tensor::from_slice2(&*VALUES));
        self.put("experts.shares", &Tensor::from_slice(&learned.shares.now()));
        self.about.kinds = experts.kinds().into_iter().map(|(kind, _)| kind).collect();
        for (half, groups) in learned.groups.iter().flat_map(|groups| groups.iter().enumerate()) {
            match groups {
                Group::Discriminants(discriminants) => {
                    self.put_discriminants(&format!("discriminants.{}", HALVES[half]), discriminants);
                }
                Group::Rescaled(discriminants) => {
                    self.put_discriminants(&format!("rescaled.{}", HALVES[half]), discriminants);
                }
                Group::Forest(forest) => self.put_forest(&format!("forest.{}", HALVES[half]), forest)?,
                Group::RandomFeatures(discriminants) => {
                    let name = format!("random-features.{}", HALVES[half]);
                    self.put_discriminants(&name, discriminants);
                    let RandomFeatures { weights, offsets } = &random[half];
                    let weights = Tensor::from_slice(weights).view([COUNT as i64, features]);
                    self.put(&format!("{name}.directions"), &weights);
                    self.put(&format!("{name}.offsets"), &Tensor::from_slice(offsets));
                }
                Group::Neighbours if half == 0 => {
                    let (rows, classes): (Vec<&[f32]>, Vec<i64>) =
                        learned.labelled.newest().map(|(row, class)| (row, class as i64)).unzip();
                    self.put("neighbours.rows", &Tensor::from_slice(&rows.concat()).view([-1, 2 * features]));
                    self.put("neighbours.classes", &Tensor::from_slice(&classes));
                }
                Group::Neighbours => {}
            }
        }
        Ok(())
    }

    fn put_forest(&mut self, name: &str, forest: &Forest) -> Result<()> {
        let Nodes { roots, features, thresholds, children, leaves, probabilities } = forest.nodes()?;
        let count = leaves.iter().max().map_or(0, |last| last + 1);
        for (part, numbers) in [("roots", &roots), ("features", &features), ("leaves", &leaves)] {
            self.put(&format!("{name}.{part}"), &Tensor::from_slice(numbers));
        }
        self.put(&format!("{name}.thresholds"), &Tensor::from_slice(&thresholds));
        self.put(&format!("{name}.children"), &Tensor::from_slice(&children).view([-1, 2]));
        self.put(&format!("{name}.probabilities"), &Tensor::from_slice(&probabilities).view([count, -1]));
        Ok(())
    }

    fn put_discriminants(&mut self, name: &str, discriminants: &Discriminants) {
        let count = discriminants.count() as i64;
        let biases = Tensor::from_slice(&discriminants.biases).view([count, -1]); // [K, C]
        let weights = Tensor::from_slice(&discriminants.weights).view([-1, count, biases.size()[1]]);
        self.put(&format!("{name}.weights"), &weights);
        self.put(&format!("{name}.biases"), &biases);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::correction::Shift;
    use crate::adapt::experts::Experts;

    fn correction(kinds: &[Kind], shape: Shape, features: usize) -> PriorCorrection {
        let mut experts = Experts::new(kinds, features, 3, 50, 0);
        for at in 0..30u64 {
            let row: Vec<f32> = (0..features).map(|place| ((at as usize + place) % 7) as f32).collect();
            experts.stream(at, &[at], &row);
            experts.learn(at, &[at], &row, &[(at % 3) as i64]);
            experts.renew();
        }
        let shift = Shift { share: 0.5, of_class: vec![0.0; 3] };
        let (experts, shifts) = (Some(experts.snapshot(0, true)), [shift.clone(), shift].into());
        PriorCorrection { shares: Some([0.3, 0.7]), experts, prototypes: None, temper: 1.0, shifts, shape }
    }

    fn sizes(frozen: &Frozen) -> Vec<String> {
        let of = |(name, tensor): &(String, Tensor)| {
            assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name}");
            format!("{} {:?}", name.strip_prefix("sluicebox.answer.").unwrap(), tensor.size())
        };
        frozen.tensors.iter().map(of).collect()
    }

    #[test]
    fn every_part_of_an_answer_has_its_tensor() {
        let shape = Shape::Vector { features: 2 };
        let frozen = Frozen::new(Some(&correction(&Kind::ALL, shape, 2))).unwrap();
        let expected = [
            "shifts [2, 3]",
            "shifts.shares [2]",
            "shares [2]",
            "scaling.mean [2]",
            "scaling.deviation [2]",
            "scaling.newest [2, 30]",
            "scaling.values [2, 256]",
            "experts.shares [52]",
            "discriminants.standardised.weights [2, 9, 3]",
            "discriminants.standardised.biases [9, 3]",
            "discriminants.ranks.weights [2, 9, 3]",
            "discriminants.ranks.biases [9, 3]",
            "random-features.standardised.weights [34, 5, 3]",
            "random-features.standardised.biases [5, 3]",
            "random-features.standardised.directions [32, 2]",
            "random-features.standardised.offsets [32]",
            "random-features.ranks.weights [34, 5, 3]",
            "random-features.ranks.biases [5, 3]",
            "random-features.ranks.directions [32, 2]",
            "random-features.ranks.offsets [32]",
            "neighbours.rows [30, 4]",
            "neighbours.classes [30]",
            "rescaled.standardised.weights [2, 9, 3]",
            "rescaled.standardised.biases [9, 3]",
            "rescaled.ranks.weights [2, 9, 3]",
            "rescaled.ranks.biases [9, 3]",
        ];
        let (trees, others): (Vec<String>, Vec<String>) =
            sizes(&frozen).into_iter().partition(|size| size.starts_with("forest."));
        assert_eq!(others, expected);
        assert_eq!(trees.len(), 2 * 6);
        assert!(trees.contains(&"forest.ranks.roots [16]".to_string()), "{trees:?}");
        assert_eq!((frozen.about.kinds.as_slice(), frozen.about.grid), (Kind::ALL.as_slice(), None));
        assert!(sizes(&Frozen::new(None).unwrap()).is_empty());
    }

    #[test]
    fn features_that_are_made_of_a_sample_say_how() {
        let long = Shape::Vector { features: 200 };
        let hashed = sizes(&Frozen::new(Some(&correction(&[Kind::Neighbours], long, 128))).unwrap());
        assert_eq!(hashed[3..5], ["hash.places [200]", "hash.signs [200]"]);
        let image = Shape::Image { channels: 1, height: 28, width: 28 };
        let frozen = Frozen::new(Some(&correction(&[Kind::Discriminants], image, 64))).unwrap();
        assert_eq!(frozen.about.grid, Some([8, 8]));
        let alone = PriorCorrection { shares: None, ..correction(&[Kind::Discriminants], image, 64) };
        assert_eq!(sizes(&Frozen::new(Some(&alone)).unwrap()), ["shifts [2, 3]", "shifts.shares [2]"]);
    }
}
