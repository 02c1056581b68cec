//! Optimisers on one flat tensor, with state that can be saved (that of tch's optimisers cannot).

use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::{above, within};
use sluicebox_core::config::registry::{Entry, Registry, Spec, settings};
use sluicebox_core::error::{Error, Result};
use tch::Tensor;

/// Updates parameters from gradients.
///
/// ```
/// use sluicebox_core::config::registry::Spec;
/// use sluicebox_learn::optimiser::OPTIMISERS;
/// use tch::Tensor;
///
/// let options = "momentum = 0.0\nweight_decay = 0.0".parse().unwrap();
/// let spec = Spec { kind: "sgd".into(), options };
/// let mut parameters = Tensor::from_slice(&[1.0f32, 2.0]);
/// let mut optimiser = (OPTIMISERS.find("sgd")?.build)(&spec, &parameters)?;
/// let gradients = Tensor::from_slice(&[1.0f32, -1.0]);
/// optimiser.step(&mut parameters, gradients, 0, 0.5);
/// assert_eq!(Vec::<f32>::try_from(parameters).unwrap(), [0.5, 2.5]);
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Optimiser {
    /// Updates `parameters` `[P]` from `gradients` `[P]`. Weight decay applies to the first
    /// `decayed` parameters. The gradients' memory may be used for other things.
    fn step(&mut self, parameters: &mut Tensor, gradients: Tensor, decayed: i64, learning_rate: f64);

    /// Counts an update that is skipped, which changes nothing else. On a GPU the host does not know of it, so that a
    /// number of steps that it keeps counts such updates everywhere.
    fn skip(&mut self) {}

    /// Returns the job's learning rate, before the schedule.
    fn learning_rate(&self) -> f64;

    /// Returns the state kept between steps: flat tensors, `[P]` f32 or scalars.
    fn state(&mut self) -> Vec<&mut Tensor>;
}

/// Builds an optimiser for `parameters` from resolved options.
pub type Build = fn(&Spec, &Tensor) -> Result<Box<dyn Optimiser>>;

/// Every optimiser a job can name.
pub static OPTIMISERS: Registry<Build> = Registry {
    what: "optimiser",
    entries: &[
        Entry::new::<SgdSettings>(
            "sgd",
            "stochastic gradient descent with momentum, by default Nesterov's",
            |spec, parameters| {
                let momentum = parameters.zeros_like();
                Ok(Box::new(Sgd { options: settings(spec)?, momentum }))
            },
        ),
        Entry::new::<AdamWSettings>(
            "adamw",
            "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
            |spec, parameters| {
                let (first, second) = (parameters.zeros_like(), parameters.zeros_like());
                let steps = Tensor::from(0i64);
                Ok(Box::new(AdamW { options: settings(spec)?, first, second, steps }))
            },
        ),
    ],
};

/// Options of `sgd`; the defaults are FixMatch's.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdSettings {
    /// Learning rate, before the schedule.
    pub learning_rate: f64,
    /// Fraction of the velocity kept at each step (μ).
    pub momentum: f64,
    /// Whether a step looks ahead along the velocity (Nesterov); false is classical momentum.
    pub nesterov: bool,
    /// Weight decay: pulls weights (not biases, not batch norm) to zero.
    pub weight_decay: f64,
}

impl Default for SgdSettings {
    fn default() -> Self {
        Self { learning_rate: 0.03, momentum: 0.9, nesterov: true, weight_decay: 5e-4 }
    }
}

/// Options of `adamw`; the defaults are the paper's.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWSettings {
    /// Learning rate, before the schedule.
    pub learning_rate: f64,
    /// Decay of the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the denominator to keep the division finite.
    pub epsilon: f64,
    /// Weight decay: pulls weights (not biases, not batch norm) to zero.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl sluicebox_core::config::document::Settings for SgdSettings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "learning_rate", self.learning_rate, above(0.0));
        within(&mut faults, "momentum", self.momentum, 0.0..1.0);
        within(&mut faults, "weight_decay", self.weight_decay, 0.0..1.0);
        faults
    }
}

impl sluicebox_core::config::document::Settings for AdamWSettings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "learning_rate", self.learning_rate, above(0.0));
        within(&mut faults, "beta1", self.beta1, 0.0..1.0);
        within(&mut faults, "beta2", self.beta2, 0.0..1.0);
        within(&mut faults, "epsilon", self.epsilon, above(0.0));
        within(&mut faults, "weight_decay", self.weight_decay, 0.0..1.0);
        faults
    }
}

/// SGD as PyTorch computes it: v ← μv + g, w ← w - η(g + μv), where g is the gradient plus weight
/// decay (Sutskever et al. 2013, §2). Without Nesterov: w ← w - ηv.
struct Sgd {
    options: SgdSettings,
    momentum: Tensor,
}

impl Optimiser for Sgd {
    fn step(&mut self, parameters: &mut Tensor, gradients: Tensor, decayed: i64, learning_rate: f64) {
        let SgdSettings { momentum, nesterov, weight_decay, .. } = self.options;
        let mut change = gradients;
        if weight_decay > 0.0 {
            let _ = change.narrow(0, 0, decayed).g_add_(&(parameters.narrow(0, 0, decayed) * weight_decay));
        }
        let _ = self.momentum.g_mul_scalar_(momentum).g_add_(&change);
        match nesterov {
            true => {
                let _ = change.g_add_(&(&self.momentum * momentum));
                let _ = parameters.g_sub_(&change.g_mul_scalar_(learning_rate));
            }
            false => {
                let _ = parameters.g_sub_(&(&self.momentum * learning_rate));
            }
        }
    }

    fn learning_rate(&self) -> f64 {
        self.options.learning_rate
    }

    fn state(&mut self) -> Vec<&mut Tensor> {
        vec![&mut self.momentum]
    }
}

/// AdamW as PyTorch computes it.
struct AdamW {
    options: AdamWSettings,
    first: Tensor,
    second: Tensor,
    steps: Tensor,
}

impl Optimiser for AdamW {
    fn step(&mut self, parameters: &mut Tensor, gradients: Tensor, decayed: i64, learning_rate: f64) {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay, .. } = self.options;
        self.steps += 1;
        let steps = self.steps.int64_value(&[]) as i32;
        let _ = parameters.narrow(0, 0, decayed).g_mul_scalar_(1.0 - learning_rate * weight_decay);
        self.first = self.first.lerp(&gradients, 1.0 - beta1);
        let _ = self.second.g_mul_scalar_(beta2).g_add_(&(gradients.square() * (1.0 - beta2)));
        let spread = self.second.sqrt() / (1.0 - beta2.powi(steps)).sqrt() + epsilon;
        let rate = learning_rate / (1.0 - beta1.powi(steps));
        let _ = parameters.g_sub_(&(&self.first / spread * rate));
    }

    fn skip(&mut self) {
        self.steps += 1;
    }

    fn learning_rate(&self) -> f64 {
        self.options.learning_rate
    }

    fn state(&mut self) -> Vec<&mut Tensor> {
        vec![&mut self.first, &mut self.second, &mut self.steps]
    }
}

/// Restores saved state tensors.
pub fn restore(optimiser: &mut dyn Optimiser, saved: Vec<Tensor>) -> Result<()> {
    let state = optimiser.state();
    let fits = |(now, then): (&&mut Tensor, &Tensor)| now.size() == then.size();
    if state.len() != saved.len() || !state.iter().zip(&saved).all(fits) {
        return Err(Error::request("the state of the optimiser does not fit the job's optimiser"));
    }
    for (now, then) in state.into_iter().zip(saved) {
        now.copy_(&then);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the weight after each of two steps with gradient 1 and learning rate 0.1, from 1.
    fn two_steps(options: &str) -> Vec<f32> {
        let spec = Spec { kind: "sgd".into(), options: options.parse().unwrap() };
        let mut weight = Tensor::from_slice(&[1.0f32]);
        let mut sgd = (OPTIMISERS.find("sgd").unwrap().build)(&spec, &weight).unwrap();
        let gradient = Tensor::from_slice(&[1.0f32]);
        let step = |_| {
            sgd.step(&mut weight, gradient.copy(), 0, 0.1);
            weight.double_value(&[0]) as f32
        };
        (0..2).map(step).collect()
    }

    #[test]
    fn momentum_with_nesterov_and_without() {
        // Velocities 1 and 1.5; Nesterov adds half of each to the gradient.
        assert_eq!(two_steps("momentum = 0.5\nweight_decay = 0.0"), [0.85, 0.675]);
        assert_eq!(two_steps("momentum = 0.5\nweight_decay = 0.0\nnesterov = false"), [0.9, 0.75]);
    }
}
