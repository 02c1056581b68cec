//! The filter stage: makes pseudo-labels and passes on only the samples that the method accepts.

use crate::adapt::correction::PriorCorrection;
use crate::adapt::correction_fit::CorrectionFit;
use crate::adapt::state::Adapting;
use crate::device::upload::upload;
use crate::messages::{Batch, Scored, Selected, TrainingBatch};
use crate::method::api::{Method, PseudoLabeller};
use crate::model::heads::twin;
use crate::pseudo_labels::{FilterStats, MEAN, PseudoLabels};
use crate::stages::gate::Gate;
use crate::stages::prototype_fit::{PrototypeFit, stand_in};
use crate::stages::relabel::corrector::Corrector;
use crate::stages::relabel::refined::Refined;
use crate::torch::on_host;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Section, Sections, Stateful};
use tch::{Device, Kind, Tensor};

/// Treatment of rejected samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `filter` on a CPU; `mask` on a GPU, where reading back the number of accepted samples would
    /// make every step wait for the device.
    #[default]
    Auto,
    /// Drops them: no strong view, no forward pass.
    Filter,
    /// Keeps them with weight 0, as in the reference code: shapes are static, and batch norm sees them.
    Mask,
}

/// Whose predictions become pseudo-labels, in jobs whose answers are not the network's alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PseudoLabelsFrom {
    /// The answer's.
    #[default]
    Answer,
    /// The network's.
    Network,
    /// The answer's, of the samples of which the network predicts the same class.
    Agreement,
}

/// The filter stage's state: that of the pseudo-labeller, the prior correction, the gate and the correction of labels.
pub struct Filter {
    /// Makes the pseudo-labels.
    pub pseudo_labeller: Box<dyn PseudoLabeller>,
    /// Makes answers of the teacher's probabilities, in jobs that change them.
    pub correction_fit: Option<CorrectionFit>,
    /// Makes prototypes, in jobs that answer by them.
    pub prototypes: Option<PrototypeFit>,
    /// Confidence gate calibrated by late labels, in jobs that use one.
    pub gate: Option<Gate>,
    /// Correction of wrong labels, in jobs that use it.
    pub corrector: Option<Corrector>,
    /// Share of the teacher's probabilities in the labelled samples' targets, in jobs that give them one.
    pub refined: Option<Refined>,
    /// Whose predictions become pseudo-labels.
    pub pseudo_labels_from: PseudoLabelsFrom,
    /// Whether the student asks for the teacher's mean probabilities ([`MEAN`]).
    pub means: bool,
    ledger_stats: bool,
    mask: bool,
    /// Place of the second network's logits among the outputs of heads, if the method has two networks.
    twin: Option<usize>,
}

impl Filter {
    /// Creates a filter for a device.
    pub fn new(method: &dyn Method, mode: Mode, device: Device) -> Self {
        let mask = mode == Mode::Mask || (mode == Mode::Auto && device != Device::Cpu);
        let (pseudo_labeller, wanted) = (method.pseudo_labeller(), method.views());
        let (ledger_stats, twin) = (wanted.ledger_stats, twin(wanted.heads));
        let pseudo_labels_from = PseudoLabelsFrom::Answer;
        let (correction_fit, prototypes, gate) = (None, None, None);
        let (corrector, refined) = (None, None);
        Self {
            pseudo_labeller,
            correction_fit,
            prototypes,
            gate,
            corrector,
            refined,
            pseudo_labels_from,
            means: false,
            ledger_stats,
            mask,
            twin,
        }
    }

    /// Returns whether a step waits for its ledger statistics.
    pub fn waits(&self) -> bool {
        self.ledger_stats || self.gate.is_some()
    }

    /// Saves the method, the prior correction, the gate and the correction of labels.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Method, self.pseudo_labeller.save()?);
        if let Some(correction_fit) = &self.correction_fit {
            sections.put(Section::Correction, correction_fit.save()?);
        }
        if let Some(prototypes) = &self.prototypes {
            sections.put(Section::Prototypes, prototypes.save()?);
        }
        if let Some(gate) = &self.gate {
            sections.put(Section::Gate, gate.save()?);
        }
        if let Some(corrector) = &self.corrector {
            sections.put(Section::Relabel, corrector.save()?);
        }
        Ok(())
    }

    /// Restores the method, the gate and the correction of labels. The answers are restored before, together with the experts that
    /// they are built on.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        self.pseudo_labeller.load(sections.require(Section::Method)?)?;
        let gate = self.gate.as_mut().zip(sections.get(Section::Gate));
        gate.map_or(Ok(()), |(gate, held)| gate.load(held))?;
        let corrector = self.corrector.as_mut().zip(sections.get(Section::Relabel));
        corrector.map_or(Ok(()), |(corrector, held)| corrector.load(held))
    }

    /// Corrects, judges and filters a step.
    pub fn judge(&mut self, scored: Scored) -> Result<Selected> {
        let Scored { batch, mut scores, fresh, blank, teacher_step } = scored;
        let Batch { mut info, mut labelled, further, unlabelled, scale, adapt } = batch;
        let device = unlabelled.device();
        let adapt = adapt.map(Adapting::arrived).transpose()?.flatten();
        let (mut network_predicted, mut answer) = (None, None);
        let disagreed = self.twin.and_then(|twin| scores.heads.get(twin)).map(|twin| match info.is_empty() {
            true => Tensor::zeros([0], (Kind::Bool, device)),
            false => scores.unlabelled[0].argmax(1, false).ne_tensor(&twin.argmax(1, false)),
        });
        let mean = (self.means && !info.is_empty())
            .then(|| scores.unlabelled[0].mean_dim([0i64].as_slice(), false, Kind::Float));
        let prototypes = match &mut self.prototypes {
            Some(fit) if info.judged && !info.is_empty() => tch::no_grad(|| fit.learn(&scores)),
            Some(fit) => fit.made(),
            None => None,
        };
        let corrects = self.pseudo_labels_from != PseudoLabelsFrom::Network;
        if let Some(prototypes) = prototypes.as_ref().filter(|_| !info.is_empty()) {
            network_predicted = Some(scores.unlabelled[0].argmax(1, false));
            answer = Some(tch::no_grad(|| stand_in(prototypes, &mut scores, corrects)));
        }
        let correction = match (&mut self.correction_fit, &adapt) {
            (Some(correction_fit), Some(adapt)) if info.is_empty() => {
                correction_fit.score_labels(adapt, fresh.as_ref().map(on_host).as_deref());
                correction_fit.correction(&adapt.said)
            }
            (Some(correction_fit), Some(adapt)) => {
                let network = answer.as_ref().unwrap_or(&scores.unlabelled[0]).shallow_clone();
                let mut labelled = scores.labelled.as_mut().filter(|_| corrects);
                let of_labelled = labelled.as_ref().map(|labelled| &labelled.probabilities);
                let [of_step, of_fresh, of_labelled, of_blank] =
                    together_on_host([Some(&network), fresh.as_ref(), of_labelled, blank.as_ref()]);
                of_blank.iter().for_each(|blank| correction_fit.see_blank(blank));
                let of_step = of_step.unwrap_or_default();
                let learned = correction_fit.learn(&of_step, adapt, of_fresh.as_deref());
                learned.map(|(correction, answers)| {
                    let classes = network.size()[1];
                    let tensor = |rows: &[f32]| upload(&Tensor::from_slice(rows).view([-1, classes]), device);
                    let first = tensor(&answers);
                    // A method compares these with those of the samples in the step. Experts would say what they have learned.
                    if let (Some(labelled), Some(rows)) = (&mut labelled, &of_labelled) {
                        labelled.probabilities = tensor(&correction.answer(rows, None));
                        for view in &mut labelled.further {
                            view.probabilities =
                                tensor(&correction.answer(&on_host(&view.probabilities), None));
                        }
                    }
                    if corrects {
                        let experts = adapt.said.answers.as_deref();
                        for rows in scores.unlabelled.iter_mut().skip(1) {
                            *rows = tensor(&correction.answer(&on_host(rows), experts));
                        }
                        scores.unlabelled[0] = first.shallow_clone();
                    }
                    network_predicted.get_or_insert_with(|| network.argmax(1, false));
                    answer = Some(first);
                    correction
                })
            }
            _ => None,
        };
        let correction = PriorCorrection::beside(correction, prototypes);
        let mut corrected = None;
        if let (Some(corrector), Some(labelled), Some(scored)) =
            (&mut self.corrector, &mut labelled, &mut scores.labelled)
            && info.judged
        {
            corrected = Some(tch::no_grad(|| corrector.correct(scored, scores.step, scores.alarm)));
            labelled.classes = scored.classes.shallow_clone();
        }
        let mut pseudo_labels = match (info.is_empty(), info.judged) {
            (true, _) => PseudoLabels::none(unlabelled.device()),
            (false, true) => tch::no_grad(|| self.pseudo_labeller.pseudo_label(&scores)),
            (false, false) => tch::no_grad(|| PseudoLabels::rejected(&scores.unlabelled[0])),
        };
        if let Some(network) =
            network_predicted.as_ref().filter(|_| self.pseudo_labels_from == PseudoLabelsFrom::Agreement)
        {
            let agrees = pseudo_labels.class.eq_tensor(network);
            pseudo_labels.keep(&agrees);
        }
        pseudo_labels.constants.extend(mean.map(|mean| (MEAN, mean)));
        if let (Some(labelled), Some(scored)) = (&mut labelled, &scores.labelled)
            && info.judged
        {
            let judged = pseudo_labels.labelled.take();
            labelled.judged = match &self.refined {
                Some(refined) => Some(tch::no_grad(|| refined.apply(judged, scored, scores.step))),
                None => judged,
            };
        }
        let (predicted_confidence, predicted) = match info.is_empty() {
            true => (pseudo_labels.confidence.shallow_clone(), pseudo_labels.class.shallow_clone()),
            false => answer.as_ref().unwrap_or(&scores.unlabelled[0]).max_dim(1, false),
        };
        let filter_stats = tch::no_grad(|| FilterStats {
            predicted,
            predicted_confidence,
            network_predicted,
            disagreed,
            corrected,
            features: scores.features.mean_dim(0, false, Kind::Float),
            gate: match &mut self.gate {
                Some(gate) if !info.barrier && info.judged => {
                    gate.learn(
                        scores.ledger_stats.as_ref().map_or(&[], |ledger_stats| &ledger_stats.newly_met),
                    );
                    if info.is_empty() { None } else { gate.judge(&mut pseudo_labels) }
                }
                _ => None,
            },
        });
        for left_out in [&info.labelled_already, &info.unfit].into_iter().filter(|places| !places.is_empty())
        {
            let index = upload(&Tensor::from_slice(left_out), pseudo_labels.weight.device());
            pseudo_labels.leave_out(&index);
        }
        let (samples, index): (Tensor, Option<Tensor>) = match self.mask {
            true => (unlabelled, None),
            false => {
                let index = pseudo_labels.selected().nonzero().view(-1); // [A]
                (unlabelled.index_select(0, &index), Some(index))
            }
        };
        if let Some(snapshot) = &mut info.snapshot {
            self.save_into(&mut snapshot.sections)?;
        }
        let training_batch = TrainingBatch {
            info,
            labelled,
            further,
            strong: Vec::new(),
            index,
            pseudo_labels,
            filter_stats,
            correction,
            scale,
            teacher_step,
            share: None,
        };
        Ok(Selected { samples, training_batch })
    }
}

/// Copies probabilities `[N, C]` to the host: those of the step's samples, of those that have just got their label, of labelled
/// ones and of a blank one. In one copy, since on a GPU each is a wait.
fn together_on_host(parts: [Option<&Tensor>; 4]) -> [Option<Vec<f32>>; 4] {
    let there: Vec<&Tensor> = parts.iter().flatten().copied().collect();
    let mut rest = match there[..] {
        [] => Vec::new(),
        [only] => on_host(only),
        _ => on_host(&Tensor::cat(&there, 0)),
    };
    parts.map(|part| {
        let others = rest.split_off(part?.numel());
        Some(std::mem::replace(&mut rest, others))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::correction_fit::Settings;
    use crate::adapt::prior::Prior;
    use crate::adapt::thread::{Awaited, Said};
    use crate::messages::{LabelledScores, Scores};
    use crate::method::METHODS;
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::sample::Shape;
    use sluicebox_core::step::StepInfo;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 2])
    }

    /// Two samples: the network is sure of class 0 and of class 1, the experts of class 1.
    fn scored() -> Scored {
        let input = Tensor::zeros([2, 1], (Kind::Float, Device::Cpu));
        let said = Said {
            trusted: true,
            prior: vec![0.5, 0.5],
            answers: Some([0.1f32, 0.9, 0.1, 0.9].map(f32::ln).to_vec()),
            foretold: None,
            snapshot: None,
        };
        let adapt = Adapting { step: 1, said: Awaited::known(said), fresh: None };
        let info = StepInfo { step: 1, ids: vec![0, 1], judged: true, ..StepInfo::default() };
        let unlabelled = input.shallow_clone();
        let batch =
            Batch { info, labelled: None, further: None, unlabelled, scale: None, adapt: Some(adapt) };
        let scores = Scores {
            step: 1,
            unlabelled: vec![rows(&[0.9, 0.1, 0.2, 0.8])],
            features: input.shallow_clone(),
            heads: Vec::new(),
            alarm: false,
            input,
            labelled: None,
            ledger_stats: None,
        };
        Scored { batch, scores, fresh: None, blank: None, teacher_step: 0 }
    }

    /// Keeps the labelled scores that it gets.
    struct Keeps(Rc<RefCell<Option<Tensor>>>);

    impl Stateful for Keeps {
        fn save(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn load(&mut self, _state: &[u8]) -> Result<()> {
            Ok(())
        }
    }

    impl PseudoLabeller for Keeps {
        fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
            *self.0.borrow_mut() = scores.labelled.as_ref().map(|labelled| labelled.probabilities.copy());
            PseudoLabels::rejected(&scores.unlabelled[0])
        }
    }

    /// What a method compares, as AdaMatch does, has gone through the same correction.
    #[test]
    fn labelled_scores_are_corrected_as_the_others_are() {
        let spec = Spec { kind: "adamatch".into(), options: "".parse().unwrap() };
        let method = (METHODS.find("adamatch").unwrap().build)(&spec).unwrap();
        for from in [PseudoLabelsFrom::Answer, PseudoLabelsFrom::Network] {
            let shape = Shape::Vector { features: 1 };
            let settings = Settings { prior: Prior::None, temper: 0.7, window: 50, blend: true, shape };
            let (kept, mut filter) = (Rc::default(), Filter::new(&*method, Mode::Mask, Device::Cpu));
            filter.pseudo_labeller = Box::new(Keeps(Rc::clone(&kept)));
            filter.correction_fit = Some(CorrectionFit::new(settings, 2));
            filter.pseudo_labels_from = from;
            let mut scored = scored();
            let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
            let (classes, keys) = (Tensor::from_slice(&[0i64]), vec![0]);
            let (probabilities, heads) = (rows(&[0.8, 0.2]), Vec::new());
            let labelled = LabelledScores {
                probabilities,
                features: none(),
                heads,
                input: none(),
                classes,
                keys,
                further: Vec::new(),
            };
            scored.scores.labelled = Some(labelled);
            let found = filter.judge(scored).unwrap().training_batch;
            let expected = match from {
                PseudoLabelsFrom::Network => vec![0.8, 0.2],
                _ => found.correction.unwrap().answer(&[0.8, 0.2], None),
            };
            let kept = Vec::<f32>::try_from(kept.borrow().as_ref().unwrap().view(-1)).unwrap();
            assert_eq!(kept, expected, "{from:?}");
        }
    }

    #[test]
    fn answer_network_or_agreement_makes_the_pseudo_labels() {
        use PseudoLabelsFrom::{Agreement, Answer, Network};
        let spec = Spec { kind: "fixmatch".into(), options: "threshold = 0.6".parse().unwrap() };
        let method = (METHODS.find("fixmatch").unwrap().build)(&spec).unwrap();
        for (from, class, weight) in
            [(Answer, [1, 1], [1.0, 1.0]), (Network, [0, 1], [1.0, 1.0]), (Agreement, [1, 1], [0.0, 1.0])]
        {
            let shape = Shape::Vector { features: 1 };
            let settings = Settings { prior: Prior::None, temper: 0.7, window: 50, blend: true, shape };
            let mut filter = Filter::new(&*method, Mode::Mask, Device::Cpu);
            filter.correction_fit = Some(CorrectionFit::new(settings, 2));
            filter.pseudo_labels_from = from;
            let found = filter.judge(scored()).unwrap().training_batch;
            let list = |tensor: &Tensor| Vec::<i64>::try_from(tensor.to_kind(Kind::Int64)).unwrap();
            assert_eq!(list(&found.pseudo_labels.class), class, "{from:?}");
            assert_eq!(Vec::<f32>::try_from(&found.pseudo_labels.weight).unwrap(), weight, "{from:?}");
            assert_eq!(list(&found.filter_stats.predicted), [1, 1], "{from:?}: what is answered");
        }
    }
}
