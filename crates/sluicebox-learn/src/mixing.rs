//! Changes to the student's batch before its forward pass, in this order: label smoothing (Szegedy
//! et al. 2016, §7), mixing of labelled samples with each other, and the method's own mixing of the
//! whole batch.
//!
//! A method mixes no more labelled samples than unlabelled ones passed the filter: where a gate
//! rejects those, labelled samples are not distorted needlessly.

use crate::augmentation::mix::{Shares, mixup, mixup_with, pasted};
use crate::method::api::{self as method, Among, MIXTURE};
use crate::pseudo_labels::Target;
use crate::regularise;
use crate::regularise::mixup::LabelledMixup;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The student's inputs and targets.
pub struct Shown {
    /// Labelled samples `[L, …]` f32 with their targets; `None` without any.
    pub labelled: Option<(Tensor, Target)>,
    /// Mixtures of labelled samples beside them, with their targets, in jobs that ask for these.
    pub beside: Option<(Tensor, Target)>,
    /// Views of the selected samples, `[A, …]` f32 each.
    pub strong: Vec<Tensor>,
    /// Targets of the A selected samples.
    pub target: Target,
    /// Targets of the further views that were mixed.
    pub further_targets: Vec<Target>,
    /// `[A]` f32: weights in the loss.
    pub weight: Tensor,
    /// Further tensors of the A selected samples, `[A, …]` each.
    pub rows: BTreeMap<&'static str, Tensor>,
}

/// Samples and their targets.
type Told = (Tensor, Target);

/// The configured changes.
pub struct Mixing {
    classes: i64,
    smoothing: f64,
    /// Steps that labels are smoothed in; 0: all.
    smoothing_steps: u64,
    labelled: Option<LabelledMixup>,
    all: Option<(Shares, method::Mixing)>,
}

impl Mixing {
    /// Creates the mixing that the job and its method ask for. Fails where CutMix cannot cut
    /// samples of this shape.
    pub fn new(
        settings: &regularise::Settings,
        wanted: Option<method::Mixing>,
        classes: i64,
        shape: Shape,
    ) -> Result<Self> {
        let labelled = settings.mixup.map(|mixup| LabelledMixup::new(mixup, shape)).transpose()?;
        let all = wanted.map(|mixing| Ok((Shares::new(mixing.alpha, mixing.dominant)?, mixing)));
        let all = all.transpose()?;
        let (smoothing, smoothing_steps) = (settings.label_smoothing, settings.smoothing_steps);
        Ok(Self { classes, smoothing, smoothing_steps, labelled, all })
    }

    /// Returns what mixes labelled samples with each other, in jobs that ask for it.
    pub fn of_labelled(&self) -> Option<&LabelledMixup> {
        self.labelled.as_ref()
    }

    /// Returns the changed batch of a step.
    pub fn apply(&self, shown: Shown, step: u64, draws: &mut Draws) -> Shown {
        let Shown { labelled, .. } = shown;
        let labelled = labelled.map(|(input, target)| self.change_labelled(input, target, step, draws));
        let (labelled, beside) = labelled.map_or((None, None), |(labelled, beside)| (Some(labelled), beside));
        let shown = Shown { labelled, beside, ..shown };
        match &self.all {
            Some((shares, mixing)) => self.mix_all(shown, shares, mixing, draws),
            None => shown,
        }
    }

    /// Returns labelled samples with their targets, and mixtures of them that come beside.
    fn change_labelled(
        &self,
        input: Tensor,
        target: Target,
        step: u64,
        draws: &mut Draws,
    ) -> (Told, Option<Told>) {
        let is_over = self.smoothing_steps > 0 && step >= self.smoothing_steps;
        let smoothing = if is_over { 0.0 } else { self.smoothing };
        if smoothing == 0.0 && self.labelled.is_none() {
            return ((input, target), None);
        }
        let rows = target.rows(self.classes) * (1.0 - smoothing) + smoothing / self.classes as f64;
        let mixture = self.labelled.as_ref().and_then(|mixup| {
            let mixed = mixup.samples(&input, draws)?;
            let target = Target::Soft(mixed.targets(&rows));
            Some(((mixed.input, target), mixup.beside().is_some()))
        });
        match mixture {
            Some((mixture, false)) => (mixture, None),
            Some((mixture, true)) => ((input, Target::Soft(rows)), Some(mixture)),
            None => ((input, Target::Soft(rows)), None),
        }
    }

    /// Mixes what the method wants mixed, each with a random partner.
    fn mix_all(&self, shown: Shown, shares: &Shares, mixing: &method::Mixing, draws: &mut Draws) -> Shown {
        let rows = shown.target.rows(self.classes); // [A, C]
        let views = mixing.views.min(shown.strong.len());
        let none = views == 0 || rows.size()[0] == 0;
        let further = if none { 1..views } else { 0..0 };
        let further_targets = further.map(|_| Target::Soft(rows.shallow_clone())).collect();
        let shown = Shown { target: Target::Soft(rows), further_targets, ..shown };
        match mixing.among {
            _ if none => shown,
            Among::Beside => self.mix_beside(shown, shares, draws),
            Among::Labelled => self.mix_labelled(shown, shares, views, draws),
            Among::Across { side } => self.mix_across(shown, side, draws),
            Among::All | Among::Views => self.mix_views(shown, shares, (views, mixing.among), draws),
        }
    }

    /// Mixes labelled samples with any of them or of the views, which stay as they are.
    fn mix_labelled(&self, shown: Shown, shares: &Shares, views: usize, draws: &mut Draws) -> Shown {
        let Some((input, target)) = shown.labelled else { return shown };
        let (own, rows) = (target.rows(self.classes), shown.target.rows(self.classes));
        let at = Tensor::arange(own.size()[0], (Kind::Int64, own.device()));
        let stays = at.ge_tensor(&passed(&shown.weight));
        let all: Vec<&Tensor> = std::iter::once(&input).chain(&shown.strong[..views]).collect();
        let mixed = mixup_with(&input, &Tensor::cat(&all, 0), shares, Some(&stays), draws);
        let all: Vec<&Tensor> = std::iter::once(&own).chain((0..views).map(|_| &rows)).collect();
        let target = Target::Soft(mixed.targets_with(&own, &Tensor::cat(&all, 0)));
        Shown { labelled: Some((mixed.input, target)), ..shown }
    }

    /// Appends mixtures of the first view, and mixes labelled samples with each other.
    fn mix_beside(&self, mut shown: Shown, shares: &Shares, draws: &mut Draws) -> Shown {
        let mixed = mixup(&shown.strong[0], shares, None, draws);
        shown.rows.insert(MIXTURE, mixed.matrix());
        shown.strong.push(mixed.input);
        shown.labelled = shown.labelled.map(|(input, target)| {
            let mixed = mixup(&input, shares, None, draws);
            let target = Target::Soft(mixed.targets(&target.rows(self.classes)));
            (mixed.input, target)
        });
        shown
    }

    /// Copies boxes between labelled samples and the first view, both ways.
    fn mix_across(&self, mut shown: Shown, side: f64, draws: &mut Draws) -> Shown {
        let Some((input, target)) = &shown.labelled else { return shown };
        if input.size()[0] == 0 {
            return shown;
        }
        let (own, rows) = (target.rows(self.classes), shown.target.rows(self.classes));
        let labelled = pasted(input, &shown.strong[0], side, draws);
        let view = pasted(&shown.strong[0], input, side, draws);
        shown.target = Target::Soft(view.targets_with(&rows, &own));
        let target = Target::Soft(labelled.targets_with(&own, &rows));
        shown.labelled = Some((labelled.input, target));
        shown.strong[0] = view.input;
        shown
    }

    /// Mixes views with each other, and labelled samples with them where they take part.
    fn mix_views(
        &self,
        shown: Shown,
        shares: &Shares,
        (views, among): (usize, Among),
        draws: &mut Draws,
    ) -> Shown {
        let Shown { labelled, beside: mixtures, mut strong, target, weight, rows: beside, .. } = shown;
        let rows = target.rows(self.classes); // [A, C]
        let selected = rows.size()[0];
        let taking_part = labelled.as_ref().filter(|_| among == Among::All);
        let (input, their_rows) = match taking_part {
            Some((input, target)) => (input.shallow_clone(), target.rows(self.classes)),
            None => (strong[0].narrow(0, 0, 0), rows.narrow(0, 0, 0)),
        };
        let (count, all) = (input.size()[0], input.size()[0] + views as i64 * selected); // L, L + A·views
        let at = Tensor::arange(all, (Kind::Int64, weight.device()));
        let stays = at.ge_tensor(&passed(&weight)).logical_and(&at.lt(count));
        let joint: Vec<&Tensor> = std::iter::once(&input).chain(&strong[..views]).collect();
        let mixed = mixup(&Tensor::cat(&joint, 0), shares, Some(&stays), draws);
        let joint: Vec<&Tensor> = std::iter::once(&their_rows).chain((0..views).map(|_| &rows)).collect();
        let mixed_rows = mixed.targets(&Tensor::cat(&joint, 0));
        let view = |tensor: &Tensor, at: usize| tensor.narrow(0, count + at as i64 * selected, selected);
        for (at, changed) in strong.iter_mut().take(views).enumerate() {
            *changed = view(&mixed.input, at);
        }
        let mut targets = (0..views).map(|at| Target::Soft(view(&mixed_rows, at)));
        let target = targets.next().unwrap_or(target);
        let further_targets = targets.collect();
        let labelled = match among {
            Among::All => labelled
                .map(|_| (mixed.input.narrow(0, 0, count), Target::Soft(mixed_rows.narrow(0, 0, count)))),
            _ => labelled,
        };
        Shown { labelled, beside: mixtures, strong, target, further_targets, weight, rows: beside }
    }
}

/// Returns the number of samples with a weight: in mask mode rejected ones are present too.
fn passed(weight: &Tensor) -> Tensor {
    weight.gt(0.0).sum(Kind::Int64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regularise::Settings;
    use regularise::mixup::Mixup;
    use sluicebox_core::rng::{Randomness, Stage};

    const VECTOR: Shape = Shape::Vector { features: 3 };

    fn draws() -> Draws {
        Randomness::new(0, 0).at(0, Stage::Student)
    }

    fn one_hot(classes: &[i64]) -> Tensor {
        Target::Hard(Tensor::from_slice(classes)).rows(3)
    }

    /// Samples that are their own one-hot targets, so that mixing must change both alike.
    fn shown(labelled: &[i64], strong: &[i64]) -> Shown {
        let hard = |classes: &[i64]| Target::Hard(Tensor::from_slice(classes));
        Shown {
            labelled: (!labelled.is_empty()).then(|| (one_hot(labelled), hard(labelled))),
            beside: None,
            strong: vec![one_hot(strong), one_hot(strong)],
            target: hard(strong),
            further_targets: Vec::new(),
            weight: Tensor::ones([strong.len() as i64], tch::kind::FLOAT_CPU),
            rows: BTreeMap::new(),
        }
    }

    fn same(input: &Tensor, target: &Target) {
        let Target::Soft(rows) = target else { panic!("mixed targets are distributions") };
        assert_eq!(input.size(), rows.size());
        assert!(input.allclose(rows, 1e-5, 1e-6, false), "{input:?} {rows:?}");
    }

    fn mixing(settings: Settings, wanted: Option<method::Mixing>) -> Mixing {
        Mixing::new(&settings, wanted, 3, VECTOR).unwrap()
    }

    #[test]
    fn smoothed_labels_give_a_share_to_every_class() {
        let settings = Settings { label_smoothing: 0.3, ..Settings::default() };
        let shown = mixing(settings, None).apply(shown(&[2, 0], &[1]), 0, &mut draws());
        let (input, Target::Soft(rows)) = shown.labelled.unwrap() else { panic!("not smoothed") };
        assert!(input.equal(&one_hot(&[2, 0])));
        let expected = Tensor::from_slice2(&[[0.1f32, 0.1, 0.8], [0.8, 0.1, 0.1]]);
        assert!(rows.allclose(&expected, 1e-5, 1e-6, false));
        assert!(matches!(shown.target, Target::Hard(_)));
    }

    #[test]
    fn smoothing_ends_where_it_is_told() {
        let settings = Settings { label_smoothing: 0.3, smoothing_steps: 5, ..Settings::default() };
        let mixing = mixing(settings, None);
        let target = |step| mixing.apply(shown(&[2, 0], &[1]), step, &mut draws()).labelled.unwrap().1;
        assert!(matches!(target(4), Target::Soft(_)) && matches!(target(5), Target::Hard(_)));
    }

    #[test]
    fn mixtures_of_labelled_samples_can_come_beside_them() {
        let settings = |features| {
            let mixup = Mixup { alpha: 1.0, beside: 1.0, features, ..Mixup::default() };
            Settings { mixup: Some(mixup), ..Settings::default() }
        };
        let mixed = mixing(settings(false), None).apply(shown(&[0, 1, 2], &[1]), 0, &mut draws());
        let ((input, target), (mixture, theirs)) = (mixed.labelled.unwrap(), mixed.beside.unwrap());
        assert!(input.equal(&one_hot(&[0, 1, 2])) && target.rows(3).equal(&input));
        same(&mixture, &theirs);
        assert!(!mixture.equal(&input));
        // Mixtures of features are made of what the network says.
        let mixing = mixing(settings(true), None);
        let mixed = mixing.apply(shown(&[0, 1, 2], &[1]), 0, &mut draws());
        assert!(mixed.beside.is_none() && mixed.labelled.unwrap().0.equal(&one_hot(&[0, 1, 2])));
        let mixup = mixing.of_labelled().unwrap();
        assert_eq!((mixup.beside(), mixup.passes()), (Some(1.0), 0));
    }

    #[test]
    fn labelled_samples_are_mixed_with_their_targets() {
        let mixup = Some(Mixup { alpha: 1.0, ..Mixup::default() });
        let mixing = mixing(Settings { mixup, ..Settings::default() }, None);
        let shown = mixing.apply(shown(&[0, 1, 2, 0, 1, 2], &[1, 1]), 0, &mut draws());
        let (input, target) = shown.labelled.unwrap();
        same(&input, &target);
        assert!(!input.equal(&one_hot(&[0, 1, 2, 0, 1, 2])));
        assert!(shown.strong[0].equal(&one_hot(&[1, 1])));
        let cut = Settings {
            mixup: Some(Mixup { alpha: 1.0, cut: true, ..Mixup::default() }),
            ..Settings::default()
        };
        assert!(Mixing::new(&cut, None, 3, VECTOR).is_err());
    }

    #[test]
    fn a_method_mixes_all_but_further_views() {
        let wanted = Some(method::Mixing { alpha: 0.75, dominant: true, views: 1, among: Among::All });
        let mixing = mixing(Settings::default(), wanted);
        let mixed = mixing.apply(shown(&[0, 1, 2], &[1, 2, 0, 0]), 0, &mut draws());
        let (input, target) = mixed.labelled.unwrap();
        same(&input, &target);
        same(&mixed.strong[0], &mixed.target);
        assert!(mixed.strong[1].equal(&one_hot(&[1, 2, 0, 0])));
        // A dominant share leaves each sample mostly unchanged.
        assert!(mixed.strong[0].argmax(1, false).equal(&Tensor::from_slice(&[1i64, 2, 0, 0])));
        // No more labelled samples are mixed than unlabelled ones passed.
        let few = mixing.apply(shown(&[0, 1, 2, 0], &[1, 2]), 0, &mut draws());
        let (input, target) = few.labelled.unwrap();
        same(&input, &target);
        assert!(input.narrow(0, 2, 2).equal(&one_hot(&[2, 0])));
        assert!(!few.strong[0].equal(&one_hot(&[1, 2])));
        // The same in mask mode, where rejected samples are present with weight 0.
        let weight = Tensor::from_slice(&[0.0f32, 1.0, 0.0, 0.0]);
        let masked = mixing.apply(Shown { weight, ..shown(&[0, 1, 2], &[1, 2, 0, 0]) }, 0, &mut draws());
        let (input, target) = masked.labelled.unwrap();
        same(&input, &target);
        assert!(input.narrow(0, 1, 2).equal(&one_hot(&[1, 2])));
        assert!(!input.narrow(0, 0, 1).equal(&one_hot(&[0])));
        // Without labelled samples the views are mixed among themselves; without accepted views
        // nothing is mixed.
        let alone = mixing.apply(shown(&[], &[1, 2, 0, 0]), 0, &mut draws());
        same(&alone.strong[0], &alone.target);
        let none = mixing.apply(shown(&[0, 1, 2], &[]), 0, &mut draws());
        let (input, target) = none.labelled.unwrap();
        assert!(input.equal(&one_hot(&[0, 1, 2])) && target.rows(3).equal(&one_hot(&[0, 1, 2])));
        mixing.apply(shown(&[], &[]), 0, &mut draws());
    }

    #[test]
    fn every_view_can_be_mixed_and_labelled_samples_can_stay_out() {
        let wanted = method::Mixing { alpha: 0.75, dominant: true, views: 2, among: Among::All };
        let mixed = mixing(Settings::default(), Some(wanted)).apply(
            shown(&[0, 1, 2], &[1, 2, 0, 0]),
            0,
            &mut draws(),
        );
        let (input, target) = mixed.labelled.unwrap();
        same(&input, &target);
        same(&mixed.strong[0], &mixed.target);
        same(&mixed.strong[1], &mixed.further_targets[0]);
        assert!(!mixed.strong[1].equal(&mixed.strong[0]) && !mixed.strong[1].equal(&one_hot(&[1, 2, 0, 0])));
        assert_eq!(mixed.further_targets.len(), 1);

        let wanted = method::Mixing { views: 1, among: Among::Views, ..wanted };
        let mixed = mixing(Settings::default(), Some(wanted)).apply(
            shown(&[2, 2, 2], &[1, 1, 0, 0]),
            0,
            &mut draws(),
        );
        let (input, target) = mixed.labelled.unwrap();
        assert!(input.equal(&one_hot(&[2, 2, 2])) && matches!(target, Target::Hard(_)));
        same(&mixed.strong[0], &mixed.target);
        assert_eq!(mixed.strong[0].select(1, 2).abs().sum(Kind::Float).double_value(&[]), 0.0);
        assert!(!mixed.strong[0].equal(&one_hot(&[1, 1, 0, 0])) && mixed.further_targets.is_empty());
    }

    #[test]
    fn labelled_samples_alone_can_be_mixed_with_all() {
        let wanted = method::Mixing { alpha: 0.75, dominant: true, views: 2, among: Among::Labelled };
        let mixed = mixing(Settings::default(), Some(wanted)).apply(
            shown(&[0, 0, 0], &[1, 2, 2, 1]),
            0,
            &mut draws(),
        );
        let (input, target) = mixed.labelled.unwrap();
        same(&input, &target);
        assert!(!input.equal(&one_hot(&[0, 0, 0])), "with views");
        assert!(input.argmax(1, false).equal(&Tensor::from_slice(&[0i64, 0, 0])), "mostly unchanged");
        same(&mixed.strong[0], &mixed.target);
        assert!(mixed.strong.iter().all(|view| view.equal(&one_hot(&[1, 2, 2, 1]))), "views stay");
        let alone = mixing(Settings::default(), Some(wanted)).apply(shown(&[], &[1, 2]), 0, &mut draws());
        assert!(alone.labelled.is_none() && alone.strong[0].equal(&one_hot(&[1, 2])));
    }

    #[test]
    fn boxes_go_both_ways_and_their_area_is_the_others_share() {
        let wanted = method::Mixing {
            alpha: 1.0,
            dominant: false,
            views: 1,
            among: Among::Across { side: 2.0 / 3.0 },
        };
        let shape = Shape::Image { channels: 1, height: 6, width: 6 };
        let mixing = Mixing::new(&Settings::default(), Some(wanted), 3, shape).unwrap();
        // Pixels of labelled samples are 0, those of views 1.
        let images = |count: i64, value: f64| Tensor::full([count, 1, 6, 6], value, tch::kind::FLOAT_CPU);
        let before = Shown {
            labelled: Some((images(2, 0.0), Target::Hard(Tensor::from_slice(&[0i64, 0])))),
            strong: vec![images(3, 1.0)],
            target: Target::Soft(one_hot(&[1, 1, 1]) * 0.5),
            ..shown(&[], &[1, 1, 1])
        };
        let mixed = mixing.apply(before, 0, &mut draws());
        let (input, target) = mixed.labelled.unwrap();
        let near = |found: Tensor, expected: [f64; 3]| {
            let expected = Tensor::from_slice(&expected).to_kind(Kind::Float).expand_as(&found);
            assert!(found.allclose(&expected, 1e-5, 1e-6, false), "{found:?}");
        };
        // A box of 4 × 4 of 36 pixels.
        let area = |images: &Tensor| images.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
        assert!(area(&input).allclose(
            &Tensor::full([2], 16.0 / 36.0, tch::kind::FLOAT_CPU),
            1e-5,
            1e-6,
            false
        ));
        near(target.rows(3), [20.0 / 36.0, 0.5 * 16.0 / 36.0, 0.0]);
        let own = Tensor::full([3], 20.0 / 36.0, tch::kind::FLOAT_CPU);
        assert!(area(&mixed.strong[0]).allclose(&own, 1e-5, 1e-6, false));
        near(mixed.target.rows(3), [16.0 / 36.0, 0.5 * 20.0 / 36.0, 0.0]);
    }

    #[test]
    fn mixtures_can_come_beside_the_views() {
        let wanted = method::Mixing { alpha: 0.75, dominant: true, views: 1, among: Among::Beside };
        let mixing = mixing(Settings::default(), Some(wanted));
        let mixed = mixing.apply(shown(&[0, 1, 2, 0], &[1, 2, 0, 0]), 0, &mut draws());
        let (input, target) = mixed.labelled.unwrap();
        same(&input, &target);
        assert!(mixed.strong.len() == 3 && mixed.strong[0].equal(&one_hot(&[1, 2, 0, 0])));
        let expected = mixed.rows[MIXTURE].matmul(&one_hot(&[1, 2, 0, 0]));
        assert!(mixed.strong[2].allclose(&expected, 1e-5, 1e-6, false));
        assert!(!mixed.strong[2].equal(&mixed.strong[0]));
        let none = mixing.apply(shown(&[0], &[]), 0, &mut draws());
        assert!(none.strong.len() == 2 && none.rows.is_empty());
    }
}
