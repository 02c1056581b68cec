//! Weights of the classes in the labelled loss (`loss.class_weights`).

use crate::pseudo_labels::Target;
use crate::torch::on_host;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::result::Result as Either;
use tch::{Kind, Tensor};

/// `[loss]`: the labelled loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Weights of the classes: "none", "balanced" (those of rare classes are larger), "effective" (the same, but less so), or
    /// a list of one for each class.
    pub class_weights: ClassWeights,
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let ClassWeights::Given(weights) = &self.class_weights else { return Vec::new() };
        let good = |weight: &f64| (0.0..=1e6).contains(weight);
        match weights.iter().find(|weight| !good(weight)) {
            Some(weight) => vec![("class_weights", format!("{weight} must be from 0 to 1000000"))],
            None if weights.iter().sum::<f64>() == 0.0 => {
                vec![("class_weights", "one weight must be above 0".into())]
            }
            None => Vec::new(),
        }
    }
}

/// Weights of the classes.
#[derive(Debug, Clone, Default, PartialEq, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// All alike.
    #[default]
    None,
    /// n / (C n_c): n labelled samples in the replay buffer, n_c of class c, of C classes that have any; as
    /// scikit-learn's `class_weight="balanced"` (King and Zeng 2001).
    Balanced,
    /// The inverse of a class's effective number of labelled samples, (1 - β^n_c) / (1 - β), scaled to a mean of 1 (Cui et al.
    /// 2019, §3.2), where 1 / (1 - β) is the mean number of a class (Lai et al. 2022).
    Effective,
    /// One for each class, in their order.
    #[schemars(untagged)]
    Given(Vec<f64>),
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Either<S::Ok, S::Error> {
        match self {
            ClassWeights::None => serializer.serialize_str("none"),
            ClassWeights::Balanced => serializer.serialize_str("balanced"),
            ClassWeights::Effective => serializer.serialize_str("effective"),
            ClassWeights::Given(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Either<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        match value.as_str() {
            Some("none") => return Ok(ClassWeights::None),
            Some("balanced") => return Ok(ClassWeights::Balanced),
            Some("effective") => return Ok(ClassWeights::Effective),
            _ => {}
        }
        let given = Vec::<f64>::deserialize(value.clone()).map(ClassWeights::Given);
        let reason = || {
            format!(
                "{value} is neither \"none\" nor \"balanced\" nor \"effective\" nor a list of numbers, one for each class"
            )
        };
        given.map_err(|_| D::Error::custom(reason()))
    }
}

impl ClassWeights {
    /// Returns the reason why they do not suit a job of these classes.
    pub fn misfit(&self, classes: usize) -> Option<String> {
        match self {
            ClassWeights::Given(weights) if weights.len() != classes => Some(format!(
                "loss.class_weights has {} weights, but there are {classes} classes",
                weights.len()
            )),
            _ => None,
        }
    }

    /// Returns the weight of each class, where not all are alike. `counts`: labelled samples of each class.
    pub fn of(&self, counts: impl FnOnce() -> Vec<u64>) -> Option<Vec<f32>> {
        match self {
            ClassWeights::None => None,
            ClassWeights::Given(weights) => Some(weights.iter().map(|weight| *weight as f32).collect()),
            ClassWeights::Balanced => {
                let counts = counts();
                let classes = counts.iter().filter(|count| **count > 0).count() as f64;
                let share = counts.iter().sum::<u64>() as f64 / classes.max(1.0);
                // A class without labelled samples may have a part in smoothed targets.
                let weight = |count: u64| if count > 0 { share / count as f64 } else { 1.0 };
                Some(counts.into_iter().map(|count| weight(count) as f32).collect())
            }
            ClassWeights::Effective => {
                let counts: Vec<f32> = counts().into_iter().map(|count| count as f32).collect();
                Some(on_host(&effective(&Tensor::from_slice(&counts))))
            }
        }
    }
}

/// Returns the inverse of each class's effective number of samples, from their `counts` `[C]` f32: scaled to a mean of 1
/// over the classes that have any, and 1 for the others.
pub fn effective(counts: &Tensor) -> Tensor {
    let absent = counts.eq(0.0);
    let classes = counts.gt(0.0).sum(Kind::Float).clamp_min(1.0);
    let mean: Tensor = (counts.sum(Kind::Float) / &classes).clamp_min(1.0);
    let beta: Tensor = 1.0 - mean.reciprocal();
    let missing: Tensor = 1.0 - (beta.log() * counts).exp(); // 1 - β^n
    let inverse = missing.reciprocal().masked_fill(&absent, 0.0);
    let scale = classes / inverse.sum(Kind::Float).clamp_min(1e-12);
    (inverse * scale).masked_fill(&absent, 1.0)
}

/// Returns `target`, of L samples, with each class's part times its weight `[C]`, and the whole scaled so that the mean
/// of a cross-entropy over the samples is its weighted mean: Σ w l / Σ w, as PyTorch's `CrossEntropyLoss` has it.
pub fn weighted(target: &Target, weights: &Tensor) -> Target {
    let rows = target.rows(weights.size()[0]); // [L, C]
    let count = rows.size()[0] as f64;
    let parts = rows * weights;
    let all = parts.sum(Kind::Float);
    // Where every sample has weight 0 nothing is learned.
    Target::Soft(parts * (all.clamp_min(1e-12).reciprocal() * count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::cross_entropy;

    fn read(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn settings_are_read_and_written() {
        for text in ["\"none\"", "\"balanced\"", "\"effective\"", "[1.0, 2.5]"] {
            let text = format!("class_weights = {text}\n");
            let text = text.as_str();
            assert_eq!(toml::to_string(&read(text).unwrap()).unwrap(), text);
        }
        assert_eq!(
            read("class_weights = [1, 2]").unwrap().class_weights,
            ClassWeights::Given(vec![1.0, 2.0])
        );
        let wrong = read("class_weights = \"even\"").unwrap_err().to_string();
        assert!(wrong.contains("neither \"none\" nor \"balanced\""), "{wrong}");
        assert!(
            ClassWeights::Given(vec![1.0])
                .misfit(2)
                .unwrap()
                .contains("has 1 weights, but there are 2 classes")
        );
    }

    #[test]
    fn balanced_weights_are_scikit_learns() {
        let balanced = |counts: &[u64]| ClassWeights::Balanced.of(|| counts.to_vec()).unwrap();
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0] * 6 + [1] * 3 + [2])
        assert_eq!(
            balanced(&[6, 3, 1]),
            [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0].map(|weight: f64| weight as f32)
        );
        assert_eq!(balanced(&[4, 0, 4]), [1.0, 1.0, 1.0]);
        assert_eq!(balanced(&[0, 0]), [1.0, 1.0]);
    }

    #[test]
    fn effective_weights_differ_less() {
        let of = |counts: &[u64]| ClassWeights::Effective.of(|| counts.to_vec()).unwrap();
        let near = |found: Vec<f32>, expected: &[f32]| {
            let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
            assert!(close && found.len() == expected.len(), "{found:?} is not {expected:?}");
        };
        near(of(&[100, 50, 10]), &[0.4102, 0.5694, 2.0204]);
        near(of(&[4, 0, 4]), &[1.0, 1.0, 1.0]);
        near(of(&[1, 1]), &[1.0, 1.0]);
        near(of(&[0, 0]), &[1.0, 1.0]);
    }

    #[test]
    fn the_mean_is_pytorchs_weighted_mean() {
        let logits = Tensor::from_slice2(&[[1.0f32, 0.0, -1.0], [0.5, 0.5, 2.0], [0.0, 3.0, 0.0]]);
        let classes = Tensor::from_slice(&[0i64, 2, 1]);
        let weights = Tensor::from_slice(&[1.0f32, 2.0, 5.0]);
        let target = weighted(&Target::Hard(classes.shallow_clone()), &weights);
        let ours = cross_entropy(&logits, &target).mean(Kind::Float).double_value(&[]);
        let theirs = logits
            .cross_entropy_loss(&classes, Some(&weights), tch::Reduction::Mean, -100, 0.0)
            .double_value(&[]);
        assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        let none = weighted(&Target::Hard(classes), &weights.zeros_like());
        assert_eq!(cross_entropy(&logits, &none).mean(Kind::Float).double_value(&[]), 0.0);
    }
}
