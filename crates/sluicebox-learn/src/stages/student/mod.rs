//! The student: forward pass, loss, optimiser and moving average of one step. Knows libtorch, but
//! nothing of the dataflow.

mod adversary;
mod forward;
mod gradient;
mod guard;
mod material;
mod state;
mod versions;

use crate::device::Compute;
use crate::messages::{CorrectedTeacher, FurtherUpdates, StepResult, TrainingBatch, Weights, outcome};
use crate::method::api::{Adversary, Method};
use crate::mixing::Mixing;
use crate::model::api::Model;
use crate::model::layout::Layout;
use crate::optimiser::Optimiser;
use crate::pseudo_labels::PseudoLabels;
use crate::published::Published;
use crate::regularise::anchor::{Anchor, At};
use crate::regularise::mixup::LabelledMixup;
use crate::regularise::projection::projected;
use crate::regularise::{self, Regularisers, Subject};
use crate::schedule::Schedule;
use crate::stages::student::guard::{Before, gap};
use crate::stages::student::material::{Gradient, Material, Passed, Trained, no_measures};
use crate::stages::team::Member;
use crate::standardise::Scale;
use crate::torch::copied;
use crate::weights::{self, Replica};
use rand::SeedableRng;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_core::sample::Shape;
use std::cell::LazyCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Settings of the learn stage itself, not of a component.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Fraction of the teacher's weights kept at each step (EMA decay). 0: the teacher is the
    /// student.
    pub ema: f64,
    /// Steps until the teacher scores with a new version of its weights.
    pub lag: u64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
    /// Number of steps of the job; `None` if it has no end.
    pub horizon: Option<u64>,
    /// Regularisers: loss terms besides the method's loss.
    pub regularise: regularise::Settings,
    /// Number of classes C.
    pub classes: i64,
    /// Shape of a sample.
    pub shape: Shape,
    /// Layout with other first weights than the model's own.
    pub first: Option<Layout>,
    /// Factor on the learning rate of each parameter; none: all 1.
    pub rates: Option<Vec<f32>>,
}

/// The network being trained, and the teacher that follows it.
pub struct Student {
    model: Rc<dyn Model>,
    method: Rc<dyn Method>,
    optimiser: Box<dyn Optimiser>,
    regularisers: Regularisers,
    mixing: Mixing,
    anchor: Option<Anchor>,
    adversary: Option<Adversary>,
    replica: Replica,
    /// `[P]` f32: factors on the learning rate.
    rates: Option<Tensor>,
    settings: Settings,
    randomness: Randomness,
    compute: Compute,
    /// Number of completed steps.
    step: u64,
    /// Those of them in which nothing was learned, as they had no sample, or none with a label or an accepted
    /// pseudo-label: neither the schedule nor the moving average counts them.
    idle: u64,
    /// Number of updates, skipped ones included.
    updates: u64,
    /// Number of those that were a warm-up on the first labels.
    warmed: u64,
    /// The teacher's last `lag` versions, newest last: those on the feedback loop.
    versions: VecDeque<Weights>,
    /// Shared slot from which predictions read the newest version.
    published: Option<Arc<Published>>,
    /// The worker, in a job with several: all of them train the same weights.
    member: Option<Member>,
}

impl Student {
    /// Creates a student with the model's first weights.
    pub fn new(
        model: Rc<dyn Model>,
        method: Rc<dyn Method>,
        optimiser: impl FnOnce(&Tensor) -> Result<Box<dyn Optimiser>>,
        settings: Settings,
        randomness: Randomness,
        compute: Compute,
    ) -> Result<Self> {
        let compute = model.compute(compute);
        let mut draws = randomness.of_all().at(0, Stage::Weights);
        let layout = settings.first.as_ref().unwrap_or(model.layout());
        let replica = Replica::first(layout, compute, &mut draws);
        let rates = settings.rates.as_ref().map(|rates| compute.upload(&Tensor::from_slice(rates)));
        let first =
            Weights { step: 0, parameters: replica.parameters.copy(), buffers: replica.buffers.copy() };
        let subject = Subject {
            layout: model.layout(),
            first: &replica.parameters,
            classes: settings.classes,
            features: model.features(),
            unlabelled: !method.views().student.is_empty(),
            mixes: method.views().mix.is_some(),
        };
        let shape = settings.shape;
        Ok(Self {
            adversary: method.views().adversary,
            mixing: Mixing::new(&settings.regularise, method.views().mix, settings.classes, shape)?,
            regularisers: Regularisers::new(&settings.regularise, &subject, &mut draws)?,
            anchor: settings.regularise.anchor.map(|anchor| Anchor::new(anchor, model.clone(), compute)),
            optimiser: optimiser(&replica.parameters)?,
            versions: VecDeque::from([first]),
            model,
            method,
            replica,
            rates,
            settings,
            randomness,
            compute,
            step: 0,
            idle: 0,
            updates: 0,
            warmed: 0,
            published: None,
            member: None,
        })
    }

    /// Trains on one training batch and returns the step result and the teacher's next version. A step that has
    /// nothing to learn from changes no weights; a barrier does not even count as a step.
    pub fn learn(&mut self, training_batch: TrainingBatch) -> Result<(StepResult, Weights)> {
        let mut trained = self.nothing();
        let info = &training_batch.info;
        if !info.barrier {
            if info.step != self.step {
                let reason = format!("step {} came where {} was due", info.step, self.step);
                return Err(Error::Engine(reason));
            }
            if info.decay_replay {
                self.set_anchor(At::Alarms);
            }
            if !info.is_empty() {
                trained = self.train(&training_batch)?;
            }
            if info.ends_phase {
                self.set_anchor(At::Phases);
            }
            self.step += 1;
            let teacher = trained.teacher.take();
            self.idle += u64::from(teacher.is_none());
            let next = teacher.map_or_else(|| self.newest(), Ok)?;
            self.hand_on(Weights { step: self.step, ..next });
        }
        let TrainingBatch {
            mut info,
            strong,
            pseudo_labels,
            filter_stats,
            correction,
            scale,
            teacher_step,
            ..
        } = training_batch;
        let accepted = pseudo_labels.accepted();
        let newest = self.newest()?;
        let teacher =
            CorrectedTeacher { weights: newest.share(), correction, scale: scale.as_ref().map(Scale::share) };
        if let Some(published) = self.published.as_ref().filter(|_| self.has_trained()) {
            published.publish(&teacher);
        }
        if let Some(snapshot) = &mut info.snapshot {
            snapshot.model = weights::safetensors(&weights::named(self.model.layout(), &newest))?;
            snapshot.not_finite = self.save_into(&mut snapshot.sections)?;
        }
        let result = StepResult {
            teacher: (info.ends_epoch || info.ends_phase).then_some(teacher),
            info,
            measures: trained.measures.unwrap_or_else(|| no_measures(self.compute.device, outcome::NOTHING)),
            compared: !strong.is_empty(),
            learning_rate: trained.rate,
            threshold: pseudo_labels.threshold,
            filter_stats,
            class: pseudo_labels.class,
            confidence: pseudo_labels.confidence,
            confident: pseudo_labels.confident.unwrap_or_else(|| accepted.shallow_clone()),
            accepted,
            student_samples: trained.unlabelled,
            labelled_samples: trained.labelled,
            teacher_step,
            scale,
        };
        Ok((result, newest))
    }

    fn set_anchor(&mut self, event: At) {
        if let Some(anchor) = &mut self.anchor {
            anchor.set(event, &self.replica);
        }
    }

    /// Returns what comes of a step in which nothing is learned.
    fn nothing(&self) -> Trained {
        Trained {
            measures: None,
            gap: None,
            rate: self.learning_rate(),
            unlabelled: 0,
            labelled: 0,
            teacher: None,
        }
    }

    /// Takes the updates of a step: those of a warm-up, then the one on labelled samples and views of the selected
    /// ones, then the further ones.
    fn train(&mut self, training_batch: &TrainingBatch) -> Result<Trained> {
        let TrainingBatch { info, labelled, strong, index, pseudo_labels, further, share, .. } =
            training_batch;
        let (mut trained, newest) = (self.nothing(), self.newest()?);
        let (warm_up, after) = further.as_ref().map(FurtherUpdates::parts).unwrap_or_default();
        let at = |stage| self.randomness.at(self.step, stage);
        let (mut network, mut further) = (at(Stage::Network), at(Stage::Further));
        let device = self.compute.device;
        let none = LazyCell::new(|| PseudoLabels::none(device));
        let alone = |labelled, further: &mut Draws| Material {
            labelled: Some(labelled),
            strong: &[],
            index: None,
            pseudo_labels: &none,
            judged: false,
            share: *share,
            draws: Draws::from_rng(further),
        };
        let joint = Material {
            labelled: labelled.as_ref(),
            strong,
            index: index.as_ref(),
            pseudo_labels,
            judged: info.judged,
            share: *share,
            draws: at(Stage::Student),
        };
        for labelled in &warm_up {
            self.update(alone(labelled, &mut further), &mut network, &newest, &mut trained)?;
            self.warmed += 1;
        }
        trained.rate = self.learning_rate();
        let measured = self.update(joint, &mut network, &newest, &mut trained)?;
        for labelled in &after {
            self.update(alone(labelled, &mut further), &mut network, &newest, &mut trained)?;
        }
        if let (Some([labelled, unlabelled, norm, agreed]), Some(gap)) = (measured, &trained.gap) {
            trained.measures = Some(Tensor::stack(&[&labelled, &unlabelled, &norm, &agreed, gap], 0));
        }
        Ok(trained)
    }

    /// Takes one update, if there is something to learn from, and lets the teacher follow it. `newest` is the teacher
    /// before the step. Returns the first four measures.
    fn update(
        &mut self,
        material: Material<'_>,
        network: &mut Draws,
        newest: &Weights,
        trained: &mut Trained,
    ) -> Result<Option<[Tensor; 4]>> {
        let before = Before::of(self.regularisers.state().into_values());
        let (labelled, unlabelled) = (material.labelled_samples(), material.unlabelled_samples());
        let is_too_small = labelled + unlabelled > 0 && labelled + unlabelled < self.model.least_batch();
        let passes = 1 + self.adversary.map_or(0, |_| 1 + adversary::PASSES);
        let mixtures = self.mixing.of_labelled().map_or(0, LabelledMixup::passes);
        let views = 1 + mixtures + material.labelled.map_or(0, |labelled| labelled.further.len() as u64);
        let all = (material.labelled_of_all() * views, material.unlabelled_of_all() * passes);
        let passed = if is_too_small { None } else { self.forward(material, network) };
        let own = passed.map(|Passed { loss, agreed, leaves, known }| {
            let gradient = |loss: &Tensor, keeps: bool| {
                let gradients = Tensor::run_backward(&[loss], &leaves, keeps, false);
                tch::no_grad(|| self.replica.flatten(&gradients))
            };
            let known = known.map(|known| gradient(&known, true));
            let all = gradient(&loss.total, false);
            let gradients = known.map_or_else(|| all.shallow_clone(), |known| projected(&all, &known));
            Gradient { gradients, loss, agreed }
        });
        let common = match self.member.clone() {
            Some(member) => self.summed(&member, own)?,
            None => own,
        };
        let Some(Gradient { gradients, loss, agreed }) = common else {
            if is_too_small {
                trained.measures = Some(no_measures(self.compute.device, outcome::TOO_SMALL));
            }
            return Ok(None);
        };
        (trained.labelled, trained.unlabelled) = (trained.labelled + all.0, trained.unlabelled + all.1);
        let rate = self.learning_rate();
        tch::no_grad(|| {
            if let Some(anchor) = &mut self.anchor {
                anchor.add(&self.replica.parameters, &gradients);
            }
            self.regularisers.add(&self.replica.parameters, &gradients);
            let norm = gradients.norm();
            let gradients = self.regularisers.clip(gradients, &norm);
            let gap = gap(&norm, &loss.total);
            let last = trained.teacher.as_ref().unwrap_or(newest);
            self.updates += 1;
            let teacher = match self.compute.device {
                Device::Cpu if gap.double_value(&[]) == 0.0 => {
                    self.step_by(gradients, rate);
                    self.followed_by(last)
                }
                Device::Cpu => {
                    before.restore(self.regularisers.state().into_values());
                    self.optimiser.skip();
                    self.replica.buffers.copy_(&last.buffers);
                    last.share()
                }
                // The host cannot know it without waiting for the device, so the device decides.
                _ => self.step_if(&gap.eq(0.0), gradients, rate, before, last),
            };
            trained.teacher = Some(teacher);
            trained.gap = Some(trained.gap.take().map_or_else(|| gap.shallow_clone(), |sum| sum + &gap));
            Ok(Some([loss.labelled, loss.unlabelled, norm, agreed]))
        })
    }

    /// Returns the learning rate of the present step. A warm-up on the first labels counts as that many steps more.
    fn learning_rate(&self) -> f64 {
        let horizon = self.settings.horizon.map(|horizon| horizon + self.warmed);
        let factor = self.settings.schedule.factor(self.step - self.idle + self.warmed, horizon);
        factor * self.optimiser.learning_rate()
    }

    /// Takes one step of the optimiser.
    fn step_by(&mut self, gradients: Tensor, rate: f64) {
        let decayed = self.model.layout().decayed;
        let before = self.rates.as_ref().map(|_| self.replica.parameters.copy());
        self.optimiser.step(&mut self.replica.parameters, gradients, decayed, rate);
        if let (Some(rates), Some(before)) = (&self.rates, before) {
            let slowed = before.lerp_tensor(&self.replica.parameters, rates);
            self.replica.parameters.copy_(&slowed);
        }
    }

    /// Returns the teacher after `last`: the moving average of the student's weights (Tarvainen and Valpola 2017,
    /// with their slow start: at most 1 - 1/updates of the teacher is kept) and a copy of the student's running
    /// statistics.
    fn followed_by(&self, last: &Weights) -> Weights {
        Weights { step: last.step, parameters: self.averaged(last), buffers: copied(&self.replica.buffers) }
    }

    fn averaged(&self, last: &Weights) -> Tensor {
        match self.settings.ema.min(1.0 - 1.0 / self.updates as f64) {
            stays if stays > 0.0 => last.parameters.lerp(&self.replica.parameters, 1.0 - stays),
            _ => copied(&self.replica.parameters),
        }
    }

    /// Does what [`Student::step_by`] and [`Student::followed_by`] do if `fit`, a bool on the device; else nothing, and
    /// puts back what the forward pass changed.
    fn step_if(
        &mut self,
        fit: &Tensor,
        gradients: Tensor,
        rate: f64,
        before: Before,
        last: &Weights,
    ) -> Weights {
        before.restore_unless(fit, self.regularisers.state().into_values());
        let kept = Before::of(self.on_device());
        self.step_by(gradients, rate);
        kept.restore_unless(fit, self.on_device());
        let parameters = self.averaged(last).where_self(fit, &last.parameters);
        let buffers = self.replica.buffers.where_self(fit, &last.buffers);
        self.replica.buffers.copy_(&buffers);
        Weights { step: last.step, parameters, buffers }
    }

    /// Returns what a step of the optimiser changes on the device.
    fn on_device(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let device = self.compute.device;
        let moments = self.optimiser.state().into_iter().filter(move |moment| moment.device() == device);
        std::iter::once(&mut self.replica.parameters).chain(moments)
    }
}
