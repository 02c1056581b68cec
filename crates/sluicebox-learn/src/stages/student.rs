//! The student: forward pass, loss, optimiser and moving average of one step. Knows libtorch, but
//! nothing of the dataflow.

use crate::adapt::correction::PriorCorrection;
use crate::class_weights::weighted;
use crate::device::Compute;
use crate::messages::{CorrectedTeacher, LabelledBatch, StepResult, TrainingBatch, Weights};
use crate::method::api::{Forward, LabelledForward, Loss, Method};
use crate::mixing::{Mixing, Shown};
use crate::model::api::{Model, Output};
use crate::model::layout::Layout;
use crate::optimiser::{self, Optimiser};
use crate::pseudo_labels::{PseudoLabels, Target, select};
use crate::published::Published;
use crate::regularise::{self, Regularisers, Subject};
use crate::schedule::Schedule;
use crate::torch::copied;
use crate::weights::{self, Replica};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::Shape;
use sluicebox_core::state::{Section, Sections, decode, encode};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use tch::{Kind, Tensor};

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
    replica: Replica,
    /// `[P]` f32: factors on the learning rate.
    rates: Option<Tensor>,
    settings: Settings,
    randomness: Randomness,
    compute: Compute,
    /// Number of completed steps.
    step: u64,
    /// Those of them that had no sample: neither the schedule nor the moving average counts them.
    empty: u64,
    /// The teacher's last `lag` versions, newest last: those on the feedback loop.
    versions: VecDeque<Weights>,
    /// Shared slot from which predictions read the newest version.
    published: Option<Arc<Published>>,
}

/// Owner of the sections, in messages.
const OWNER: &str = "the student";

/// The student's section of a snapshot. Tensors are bytes of f32.
#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    parameters: Bytes,
    buffers: Bytes,
    optimiser: Vec<(bool, Bytes)>,
    regularisers: BTreeMap<String, Bytes>,
    versions: Vec<(u64, Bytes, Bytes)>,
}

type Bytes = serde_bytes::ByteBuf;

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
        let mut draws = randomness.at(0, Stage::Weights);
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
            unlabelled: method.views().strong > 0,
        };
        let shape = settings.shape;
        Ok(Self {
            mixing: Mixing::new(&settings.regularise, method.views().mix, settings.classes, shape)?,
            regularisers: Regularisers::new(&settings.regularise, &subject, &mut draws)?,
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
            empty: 0,
            published: None,
        })
    }

    /// Publishes the teacher's newest version in `published` after each step from now on, once it has
    /// trained; if it has already, also at once, with prior correction `correction`.
    pub fn publish_in(&mut self, published: Arc<Published>, correction: Option<PriorCorrection>) {
        if let Some(newest) = self.versions.back().filter(|_| self.has_trained()) {
            published.publish(&CorrectedTeacher { weights: newest.share(), correction });
        }
        self.published = Some(published);
    }

    /// Returns the versions on the feedback loop, each with the step at which the teacher receives it.
    pub fn in_flight(&self) -> Vec<(u64, Weights)> {
        let count = self.versions.len() as u64;
        // The next step is scored with the oldest version; the others follow one by one.
        let arrival = |index: u64| match index {
            0 => self.step,
            _ => self.step + self.settings.lag + index - count,
        };
        (0..count).map(arrival).zip(self.versions.iter().map(Weights::share)).collect()
    }

    /// Trains on one training batch and returns the step result and the teacher's next version. A step
    /// without samples changes no weights; a barrier does not even count as a step.
    pub fn learn(&mut self, training_batch: TrainingBatch) -> Result<(StepResult, Weights)> {
        let TrainingBatch {
            mut info,
            labelled,
            strong,
            index,
            pseudo_labels,
            filter_stats,
            correction,
            teacher_step,
        } = training_batch;
        let accepted = pseudo_labels.accepted();
        let mut student_samples = 0;
        let mut measures = None;
        let labelled_samples = labelled.as_ref().map_or(0, |labelled| labelled.classes.size()[0] as u64);
        let learning_rate = self.learning_rate();
        if !info.barrier {
            if info.step != self.step {
                let reason = format!("step {} came where {} was due", info.step, self.step);
                return Err(Error::Engine(reason));
            }
            if info.is_empty() {
                self.empty += 1;
                self.step += 1;
                self.stay();
            } else {
                student_samples = strong.iter().map(|view| view.size()[0] as u64).sum();
                let loss = self.forward(labelled.as_ref(), &strong, index.as_ref(), &pseudo_labels);
                if let Some((loss, agreed, leaves)) = loss {
                    let norm = self.update(&loss.total, &leaves, learning_rate);
                    measures = Some(Tensor::stack(&[&loss.labelled, &loss.unlabelled, &norm, &agreed], 0));
                }
                self.step += 1;
                self.follow();
            }
        }
        let newest = self.newest()?;
        let teacher = CorrectedTeacher { weights: newest.share(), correction };
        if let Some(published) = self.published.as_ref().filter(|_| self.has_trained()) {
            published.publish(&teacher);
        }
        if let Some(snapshot) = &mut info.snapshot {
            snapshot.model = weights::safetensors(&weights::named(self.model.layout(), &newest))?;
            self.save_into(&mut snapshot.sections)?;
        }
        let result = StepResult {
            teacher: (info.ends_epoch || info.ends_phase).then_some(teacher),
            info,
            measures: measures.unwrap_or_else(|| Tensor::zeros([4], (Kind::Float, self.compute.device))),
            compared: !strong.is_empty(),
            learning_rate,
            threshold: pseudo_labels.threshold,
            filter_stats,
            class: pseudo_labels.class,
            confidence: pseudo_labels.confidence,
            confident: pseudo_labels.confident.unwrap_or_else(|| accepted.shallow_clone()),
            accepted,
            student_samples,
            labelled_samples,
            teacher_step,
        };
        Ok((result, newest))
    }

    /// Runs one joint forward pass over labelled samples and views of the selected ones. Returns
    /// the method's loss, the number of accepted samples on which the student agrees with the
    /// teacher, and the leaves.
    fn forward(
        &mut self,
        labelled: Option<&LabelledBatch>,
        strong: &[Tensor],
        index: Option<&Tensor>,
        pseudo_labels: &PseudoLabels,
    ) -> Option<(Loss, Tensor, Vec<Tensor>)> {
        let selected = |tensor: &Tensor| select(tensor, index);
        let hard = |classes: &Tensor| Target::Hard(classes.shallow_clone());
        let shown = Shown {
            labelled: labelled.map(|batch| (batch.input.shallow_clone(), hard(&batch.classes))),
            strong: strong.iter().map(Tensor::shallow_clone).collect(),
            target: pseudo_labels.target.map(selected),
            weight: selected(&pseudo_labels.weight),
        };
        let mut draws = self.randomness.at(self.step, Stage::Student);
        let Shown { labelled: changed, strong, target, weight } = self.mixing.apply(shown, &mut draws);
        let views = changed.iter().map(|(input, _)| input).chain(&strong);
        let views: Vec<&Tensor> = views.filter(|view| view.size()[0] > 0).collect();
        if views.is_empty() {
            return None;
        }
        let sizes: Vec<i64> = views.iter().map(|view| view.size()[0]).collect();
        let leaves =
            self.model.leaves(self.replica.leaves(), &mut self.randomness.at(self.step, Stage::Network));
        let input = self.compute.input(&Tensor::cat(&views, 0)); // [L + A·views, …]
        let output = self.model.train(&leaves, self.replica.buffers(), &input);
        let mut outputs = output.split(&sizes).into_iter();
        let labelled = labelled.zip(changed).and_then(|(batch, (_, target))| {
            let LabelledBatch { classes, class_weights, .. } = batch;
            let target = match class_weights {
                Some(weights) => weighted(&target, weights),
                None => target,
            };
            Some(LabelledForward { output: outputs.next()?, target, classes })
        });
        let strong: Vec<Output> = outputs.collect();
        let agreed = strong.first().map(|output| agreed(&output.logits, &target, &weight));
        let agreed = agreed.unwrap_or_else(|| Tensor::zeros([], (Kind::Float, self.compute.device)));
        let forward = Forward {
            labelled,
            strong,
            target,
            weight,
            batch: pseudo_labels.weight.size()[0],
            rows: pseudo_labels.rows.iter().map(|(name, rows)| (*name, selected(rows))).collect(),
            constants: &pseudo_labels.constants,
            draws,
        };
        let further = self.regularisers.loss(&forward);
        let loss = self.method.loss(forward)?;
        let loss = further.iter().fold(loss, Loss::plus);
        Some((loss, agreed, leaves))
    }

    /// Returns whether a step had samples.
    fn has_trained(&self) -> bool {
        self.step > self.empty
    }

    /// Returns the learning rate of the present step.
    fn learning_rate(&self) -> f64 {
        let factor = self.settings.schedule.factor(self.step - self.empty, self.settings.horizon);
        factor * self.optimiser.learning_rate()
    }

    /// Takes one optimiser step and returns the gradient's norm.
    fn update(&mut self, total: &Tensor, leaves: &[Tensor], rate: f64) -> Tensor {
        let gradients = Tensor::run_backward(&[total], leaves, false, false);
        tch::no_grad(|| {
            let gradients = self.replica.flatten(&gradients);
            self.regularisers.add(&self.replica.parameters, &gradients);
            let norm = gradients.norm();
            let gradients = self.regularisers.clip(gradients, &norm);
            let decayed = self.model.layout().decayed;
            let before = self.rates.as_ref().map(|_| self.replica.parameters.copy());
            self.optimiser.step(&mut self.replica.parameters, &gradients, decayed, rate);
            if let (Some(rates), Some(before)) = (&self.rates, before) {
                let slowed = before.lerp_tensor(&self.replica.parameters, rates);
                self.replica.parameters.copy_(&slowed);
            }
            norm
        })
    }

    /// Appends the teacher's next version: the moving average of the student's weights (Tarvainen
    /// and Valpola 2017, with their slow start: at most 1 - 1/steps of the teacher is kept) and a
    /// copy of the student's running statistics.
    fn follow(&mut self) {
        let stays = self.settings.ema.min(1.0 - 1.0 / (self.step - self.empty) as f64);
        let parameters = tch::no_grad(|| match self.versions.back() {
            Some(last) if stays > 0.0 => last.parameters.lerp(&self.replica.parameters, 1.0 - stays),
            _ => copied(&self.replica.parameters),
        });
        let buffers = copied(&self.replica.buffers);
        self.hand_on(Weights { step: self.step, parameters, buffers });
    }

    /// Appends the teacher's version before as its next: nothing was learned.
    fn stay(&mut self) {
        if let Some(last) = self.versions.back().map(Weights::share) {
            self.hand_on(Weights { step: self.step, ..last });
        }
    }

    fn hand_on(&mut self, next: Weights) {
        self.versions.push_back(next);
        while self.versions.len() as u64 > self.settings.lag {
            self.versions.pop_front();
        }
    }

    fn newest(&self) -> Result<Weights> {
        let newest = self.versions.back().map(Weights::share);
        newest.ok_or_else(|| Error::Engine("the student has no version of its weights".into()))
    }

    /// Saves the weights, the running statistics, the optimiser and the teacher's versions.
    fn save_into(&mut self, sections: &mut Sections) -> Result<()> {
        let versions = self.versions.iter();
        let state = State {
            step: self.step,
            parameters: bytes(&self.replica.parameters),
            buffers: bytes(&self.replica.buffers),
            versions: versions
                .map(|version| (version.step, bytes(&version.parameters), bytes(&version.buffers)))
                .collect(),
            optimiser: self
                .optimiser
                .state()
                .into_iter()
                .map(|tensor| (tensor.kind() == Kind::Int64, bytes(tensor)))
                .collect(),
            regularisers: self
                .regularisers
                .state()
                .into_iter()
                .map(|(name, tensor)| (name.to_string(), bytes(tensor)))
                .collect(),
        };
        sections.put(Section::Student, encode(OWNER, &state)?);
        if self.empty > 0 {
            sections.put(Section::Empty, encode(OWNER, &self.empty)?);
        }
        Ok(())
    }

    /// Returns to a saved state.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        let state: State = decode(OWNER, sections.require(Section::Student)?)?;
        let empty: u64 = sections.get(Section::Empty).map_or(Ok(0), |state| decode(OWNER, state))?;
        if empty > state.step {
            let reason =
                format!("the state of {OWNER} is damaged: {empty} of {} steps are empty", state.step);
            return Err(Error::Request(reason));
        }
        let fits = |bytes: &Bytes, like: &Tensor| bytes.len() as i64 == 4 * like.numel() as i64;
        if !fits(&state.parameters, &self.replica.parameters) || !fits(&state.buffers, &self.replica.buffers)
        {
            return Err(Error::request("the student's state does not fit the job's model"));
        }
        // A term without saved state was off before: it starts as in a new job.
        for (name, now) in self.regularisers.state() {
            let Some(then) = state.regularisers.get(name) else { continue };
            if !fits(then, now) {
                return Err(Error::Request(format!("the state of regularise.{name} does not fit the job")));
            }
            now.copy_(&floats(then).view_as(now));
        }
        let (device, layout) = (self.compute.device, self.model.layout());
        let tensor = |bytes: &Bytes| floats(bytes).to_device(device);
        let (parameters, buffers) = (tensor(&state.parameters), tensor(&state.buffers));
        self.replica = Replica::with(layout, self.compute, parameters, buffers);
        (self.step, self.empty) = (state.step, empty);
        self.versions = state
            .versions
            .iter()
            .map(|(step, parameters, buffers)| Weights {
                step: *step,
                parameters: tensor(parameters),
                buffers: tensor(buffers),
            })
            .collect();
        let saved = state.optimiser.iter().map(|(scalar, bytes)| match scalar {
            true => Tensor::from_data_size(bytes, &[], Kind::Int64),
            false => tensor(bytes),
        });
        tch::no_grad(|| optimiser::restore(&mut *self.optimiser, saved.collect()))
    }
}

/// Counts the accepted samples (weight above 0) for which the student's likeliest class is that of
/// the pseudo-label.
fn agreed(logits: &Tensor, target: &Target, weight: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let class = match target {
            Target::Hard(classes) => classes.shallow_clone(),
            Target::Soft(rows) => rows.argmax(1, false),
        };
        let same = logits.argmax(1, false).eq_tensor(&class);
        same.logical_and(&weight.gt(0.0)).sum(Kind::Float)
    })
}

/// Copies a tensor's memory to the CPU.
fn bytes(tensor: &Tensor) -> Bytes {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let size = tensor.numel() * tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0; size];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    Bytes::from(bytes)
}

/// Builds a flat f32 tensor from such bytes.
fn floats(bytes: &Bytes) -> Tensor {
    Tensor::from_data_size(bytes, &[bytes.len() as i64 / 4], Kind::Float)
}
