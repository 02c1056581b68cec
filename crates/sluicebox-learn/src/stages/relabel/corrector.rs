//! Correction of wrong labels (`labels.correct`; ADELE, Liu et al. 2022, §3.2 and 3.3), with any method. A network learns what
//! is right in its labels before it memorises what is wrong. For each class it is followed how often the teacher agrees with
//! the labels; when that has stopped growing (`Curve`), above one half, labels of the class are replaced by the class of which
//! the teacher is sure. After a drift alarm all of it begins anew, and labels are taken as they are until then.
//!
//! Departures. The paper segments images, and judges by the overlap of segments over epochs: here it is the fraction of the
//! class's labelled samples of which the teacher says the label, a mean over every [`INTERVAL`] steps. Its consistency of
//! scales is what the method does with views. Its teacher averages over scales; here it is the job's. It asks for a probability of
//! 0.8: a network that learns from labels of which 30 % are wrong is rarely that sure, so that the default here is 0.6.

use crate::device::upload::upload;
use crate::messages::LabelledScores;
use crate::stages::relabel::curve::Curve;
use crate::torch::on_host;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Steps between two looks at how often labels were met: on a GPU each is a wait.
pub const INTERVAL: u64 = 10;
/// Most values kept of a class; then each two become one.
const MOST: usize = 64;
/// Least values from which a curve is fitted.
const LEAST: usize = 20;
/// Fraction of the slope that must be gone (r of the paper).
const SLOWED: f64 = 0.9;
/// Least agreement of a class that has been learned: the curve of one that the network does not know yet is flat too.
const LEARNED: f32 = 0.5;

/// Finds the classes whose wrong labels begin to be memorised, and corrects their labels.
pub struct Corrector {
    /// Probability above which the teacher's class replaces a label.
    above: f64,
    /// Names of the classes, for the log.
    names: Vec<String>,
    classes: Vec<Class>,
    /// `[2, C]` f32: labelled samples of each class since the last look, and those of them of which the teacher said so.
    met: Option<Tensor>,
    /// `[C]` bool, on the device: whether labels of the class are corrected; none where those of no class are.
    corrected: Option<Tensor>,
}

/// What is known of a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Class {
    /// Mean agreement of consecutive spans, oldest first.
    values: Vec<f32>,
    /// Looks that a value spans.
    span: u32,
    /// Sum and number of the looks that are no value yet.
    begun: (f32, u32),
    /// Whether its labels are corrected.
    corrected: bool,
}

impl Class {
    /// Takes in a look. Returns whether labels are corrected from now on.
    fn look(&mut self, agreement: f32) -> bool {
        self.begun = (self.begun.0 + agreement, self.begun.1 + 1);
        if self.begun.1 < self.span.max(1) {
            return false;
        }
        self.values.push(self.begun.0 / self.begun.1 as f32);
        self.begun = (0.0, 0);
        if self.values.len() >= MOST {
            self.values =
                self.values.chunks(2).map(|pair| pair.iter().sum::<f32>() / pair.len() as f32).collect();
            self.span = 2 * self.span.max(1);
        }
        let is_learned = self.values.len() >= LEAST
            && self.values[self.values.len() - 2..].iter().all(|value| *value > LEARNED);
        let now = !self.corrected
            && is_learned
            && Curve::fitted(&self.values).slowed(self.values.len() as f64) > SLOWED;
        self.corrected |= now;
        now
    }
}

impl Corrector {
    /// Creates a corrector for classes with these names, which believes the teacher above a probability of `above`.
    pub fn new(names: Vec<String>, above: f64) -> Self {
        Self { above, classes: vec![Class::default(); names.len()], names, met: None, corrected: None }
    }

    /// Takes in what the teacher says of the step's labelled samples, and corrects their classes. Returns how many: `[1]` i64.
    pub fn correct(&mut self, scores: &mut LabelledScores, step: u64, alarm: bool) -> Tensor {
        if alarm {
            *self = Self::new(std::mem::take(&mut self.names), self.above);
        }
        let (confidence, said) = scores.probabilities.max_dim(1, false); // [L], [L]
        self.count(&scores.classes, &said);
        if step % INTERVAL == INTERVAL - 1 {
            self.look(step);
        }
        let Some(corrected) = &self.corrected else {
            return Tensor::zeros([1], (Kind::Int64, confidence.device()));
        };
        let corrected = corrected.to_device(confidence.device());
        let doubtful = corrected.index_select(0, &scores.classes).logical_and(&confidence.gt(self.above));
        let classes = said.where_self(&doubtful, &scores.classes);
        let given = std::mem::replace(&mut scores.classes, classes);
        scores.classes.ne_tensor(&given).sum(Kind::Int64).view(1)
    }

    fn count(&mut self, given: &Tensor, said: &Tensor) {
        let (count, device) = (self.classes.len() as i64, given.device());
        let met = self
            .met
            .take()
            .map_or_else(|| Tensor::zeros([2, count], (Kind::Float, device)), |met| met.to_device(device));
        let rows = given.one_hot(count).to_kind(Kind::Float); // [L, C]
        let agreed = given.eq_tensor(said).to_kind(Kind::Float); // [L]
        let of_step = Tensor::stack(&[agreed.ones_like(), agreed], 0).matmul(&rows);
        self.met = Some(met + of_step);
    }

    fn look(&mut self, step: u64) {
        let Some(met) = self.met.take() else { return };
        let numbers = on_host(&met);
        let (labels, agreed) = numbers.split_at(self.classes.len());
        for (at, class) in self.classes.iter_mut().enumerate().filter(|(at, _)| labels[*at] > 0.0) {
            if class.look(agreed[at] / labels[at]) {
                tracing::info!(
                    "labels of class {} are corrected from step {step} on: the network agrees with them no more often than \
                     before",
                    self.names[at]
                );
            }
        }
        self.corrected = self.flags().map(|flags| upload(&flags, met.device()));
    }

    fn flags(&self) -> Option<Tensor> {
        let flags: Vec<bool> = self.classes.iter().map(|class| class.corrected).collect();
        flags.contains(&true).then(|| Tensor::from_slice(&flags))
    }
}

/// The state's name in messages.
const WHAT: &str = "`labels.correct`";

impl Stateful for Corrector {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(&self.classes, self.met.as_ref().map(on_host)))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (classes, met): (Vec<Class>, Option<Vec<f32>>) = decode(WHAT, state)?;
        let count = self.classes.len();
        if classes.len() != count || met.as_ref().is_some_and(|met| met.len() != 2 * count) {
            let reason = format!("the state of {WHAT} is damaged: it is not of {count} classes");
            return Err(Error::Request(reason));
        }
        self.classes = classes;
        self.met = met.map(|met| Tensor::from_slice(&met).view([2, count as i64]));
        self.corrected = self.flags();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// 20 samples labelled 0 and 20 labelled 1; the teacher says so of these fractions of them, and else 2, always with 0.9.
    fn scores(agreed: [f64; 2]) -> LabelledScores {
        let given: Vec<i64> = (0..40).map(|at| at / 20).collect();
        let said = |at: i64| if ((at % 20) as f64) < 20.0 * agreed[(at / 20) as usize] { at / 20 } else { 2 };
        let said: Vec<i64> = (0..40).map(said).collect();
        let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
        LabelledScores {
            probabilities: Tensor::from_slice(&said).one_hot(3).to_kind(Kind::Float) * 0.85 + 0.05,
            features: none(),
            heads: Vec::new(),
            input: none(),
            classes: Tensor::from_slice(&given),
            keys: (0..40).collect(),
            further: Vec::new(),
        }
    }

    /// Class 0 is learned within 100 steps, to 70 %; class 1 goes on growing.
    fn at(step: u64) -> LabelledScores {
        let t = step as f64;
        scores([0.7 * (1.0 - (-t / 30.0).exp()), t / 500.0])
    }

    fn new(classes: usize, above: f64) -> Corrector {
        Corrector::new(["ant", "bee", "cat"][..classes].iter().map(|name| name.to_string()).collect(), above)
    }

    /// Runs the steps. Returns the number of labels of each class that were corrected in the last one.
    fn corrected(corrector: &mut Corrector, steps: std::ops::Range<u64>) -> [i64; 2] {
        let mut changed = [0, 0];
        for step in steps {
            let mut scored = at(step);
            let given = scored.classes.copy();
            let count = corrector.correct(&mut scored, step, false);
            let wrong = scored.classes.ne_tensor(&given);
            assert_eq!(count.int64_value(&[0]), wrong.sum(Kind::Int64).int64_value(&[]));
            changed =
                [0, 1].map(|class| wrong.logical_and(&given.eq(class)).sum(Kind::Int64).int64_value(&[]));
            assert!(
                bool::try_from(scored.classes.eq(2).eq_tensor(&wrong).all()).unwrap(),
                "only towards the teacher"
            );
        }
        changed
    }

    #[test]
    fn labels_of_classes_that_are_learned_are_corrected_until_an_alarm() {
        let mut corrector = new(3, 0.8);
        assert_eq!(corrected(&mut corrector, 0..60), [0, 0], "too early");
        assert_eq!(corrected(&mut corrector, 60..400), [6, 0]);
        let mut again = new(3, 0.8);
        again.load(&corrector.save().unwrap()).unwrap();
        assert_eq!(corrected(&mut again, 400..401), [6, 0]);
        assert_eq!(again.classes, corrector.classes);
        let _ = corrector.correct(&mut at(400), 400, true);
        assert_eq!(corrected(&mut corrector, 401..402), [0, 0]);
        assert!(new(2, 0.8).load(&corrector.save().unwrap()).is_err());
        // A teacher that is not sure enough corrects nothing.
        assert_eq!(corrected(&mut new(3, 0.95), 0..400), [0, 0]);
    }

    #[test]
    fn a_class_that_is_not_learned_yet_keeps_its_labels() {
        let mut corrector = new(3, 0.8);
        for step in 0..400 {
            let mut scored = scores([0.0, 0.4]);
            let _ = corrector.correct(&mut scored, step, false);
            assert_eq!(scored.classes.eq(2).sum(Kind::Int64).int64_value(&[]), 0, "step {step}");
        }
    }

    #[test]
    fn however_long_a_job_runs_little_is_kept() {
        let mut class = Class { corrected: true, ..Class::default() };
        for look in 0..100_000u32 {
            class.look(look as f32 / 1e5);
            assert!(class.values.len() < MOST);
        }
        assert!(class.values.windows(2).all(|pair| pair[0] < pair[1]) && class.span == 2048, "{class:?}");
    }
}
