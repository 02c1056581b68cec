//! The forward pass of an update: one for all views, and the loss of what it says.

use crate::class_weights::weighted;
use crate::loss::cross_entropy;
use crate::messages::LabelledBatch;
use crate::method::api::{Forward, LabelledForward, Loss};
use crate::mixing::Shown;
use crate::model::api::Output;
use crate::pseudo_labels::{Target, select};
use crate::regularise::mixup::LabelledMixup;
use crate::stages::student::Student;
use crate::stages::student::adversary::Opponent;
use crate::stages::student::material::{Material, Passed, agreed};
use sluicebox_core::rng::Draws;
use tch::{Kind, Tensor};

/// Returns the targets of labelled samples before smoothing and mixing.
fn given(batch: &LabelledBatch) -> Target {
    match &batch.judged {
        Some(judged) => judged.target.map(Tensor::shallow_clone),
        None => Target::Hard(batch.classes.shallow_clone()),
    }
}

impl Student {
    /// Runs one joint forward pass over labelled samples and views of the selected ones.
    pub(super) fn forward(&mut self, material: Material<'_>, network: &mut Draws) -> Option<Passed> {
        let (factor, batch) = (material.labelled_factor(), material.divisor());
        let Material { labelled, strong, index, pseudo_labels, judged, mut draws, .. } = material;
        let selected = |tensor: &Tensor| select(tensor, index);
        let shown = Shown {
            labelled: labelled.map(|batch| (batch.input.shallow_clone(), given(batch))),
            beside: None,
            strong: strong.iter().map(Tensor::shallow_clone).collect(),
            target: pseudo_labels.target.map(selected),
            further_targets: Vec::new(),
            weight: selected(&pseudo_labels.weight),
            rows: pseudo_labels.rows.iter().map(|(name, rows)| (*name, selected(rows))).collect(),
        };
        let Shown { labelled: changed, beside, mut strong, target, further_targets, weight, rows } =
            self.mixing.apply(shown, self.step, &mut draws);
        if let (Some(adversary), Some(first)) =
            (self.adversary, strong.first().filter(|first| first.size()[0] > 0))
        {
            let Self { model, compute, replica, updates, .. } = self;
            let opponent = Opponent { model: &**model, compute: *compute, replica, updates: *updates };
            let moved = opponent.moved(first, adversary, &mut draws);
            strong.push(moved);
        }
        let further = labelled.iter().flat_map(|batch| &batch.further);
        let mixtures = beside.iter().map(|(input, _)| input);
        let views = changed.iter().map(|(input, _)| input).chain(&strong).chain(further).chain(mixtures);
        let views: Vec<&Tensor> = views.filter(|view| view.size()[0] > 0).collect();
        if views.is_empty() {
            return None;
        }
        // Without a selected sample there is no output of their views.
        let shown_views = strong.iter().filter(|view| view.size()[0] > 0).count();
        let sizes: Vec<i64> = views.iter().map(|view| view.size()[0]).collect();
        let leaves = self.model.leaves(self.replica.leaves(), network);
        let input = self.model.input(self.compute, &Tensor::cat(&views, 0)); // [L + A·views, …]
        let class_count = self.settings.classes;
        let output = self.model.train(&leaves, self.replica.buffers(), &input, self.updates);
        let mut outputs = output.split(&sizes).into_iter();
        let first = changed.as_ref().and_then(|_| outputs.next());
        let strong: Vec<Output> = outputs.by_ref().take(shown_views).collect();
        let before = changed.as_ref().map_or(0, |(input, _)| input.size()[0]);
        let held = self.held(&input, &output, before, &strong, &weight);
        let mut mixture = None;
        let labelled = labelled.zip(changed).zip(first).map(|((batch, (_, target)), output)| {
            let LabelledBatch { classes, class_weights, judged, further, .. } = batch;
            let weight = judged.as_ref().and_then(|judged| judged.weight.as_ref());
            let counted = |target: Target| {
                let target = match class_weights {
                    Some(weights) => weighted(&target, weights),
                    None => target,
                };
                let target = match weight {
                    Some(weight) => Target::Soft(target.rows(class_count) * weight.unsqueeze(1)),
                    None => target,
                };
                if factor == 1.0 { target } else { Target::Soft(target.rows(class_count) * factor) }
            };
            let further: Vec<Output> = outputs.by_ref().take(further.len()).collect();
            let mixup = self.mixing.of_labelled();
            let mixed = mixup.and_then(|mixup| mixup.outputs(&output, &target.rows(class_count), &mut draws));
            let mixed = mixed.or_else(|| {
                let (_, target) = beside?;
                Some((outputs.next()?, target))
            });
            let (output, target) = match (mixed, mixup.and_then(LabelledMixup::beside)) {
                (Some(mixed), None) => mixed,
                (mixed, weight) => {
                    mixture = mixed.zip(weight).map(|((mixed, target), weight)| {
                        cross_entropy(&mixed.logits, &counted(target)).mean(Kind::Float) * weight
                    });
                    (output, target)
                }
            };
            let target = counted(target);
            let rows =
                judged.as_ref().map(|judged| judged.map(Tensor::shallow_clone).rows).unwrap_or_default();
            let divisor = classes.size()[0] as f64 / factor;
            LabelledForward { output, further, target, classes, batch: divisor, rows }
        });
        let agreed = strong.first().map(|output| agreed(&output.logits, &target, &weight));
        let agreed = agreed.unwrap_or_else(|| Tensor::zeros([], (Kind::Float, self.compute.device)));
        let mut forward = Forward {
            labelled,
            strong,
            target,
            further_targets,
            weight,
            batch,
            rows,
            constants: &pseudo_labels.constants,
            draws,
        };
        let terms = [self.regularisers.loss(&forward), held, mixture];
        self.regularisers.change(&mut forward);
        let known = self.settings.regularise.project.then(|| forward.labelled_loss()).flatten();
        let loss = match judged {
            true => self.method.loss(forward)?,
            false => self.method.loss_of_labels(forward)?,
        };
        let loss = terms.iter().flatten().fold(loss, Loss::plus);
        Some(Passed { loss, agreed, leaves, known })
    }

    /// Returns the term that holds the network to what it said at its anchor, of all samples of a pass: `before` labelled ones, those
    /// of the views `strong`, of which only accepted ones count, and others.
    fn held(
        &self,
        input: &Tensor,
        output: &Output,
        before: i64,
        strong: &[Output],
        weight: &Tensor,
    ) -> Option<Tensor> {
        let anchor = self.anchor.as_ref()?;
        let accepted = weight.gt(0.0).to_kind(Kind::Float);
        let ones = |count: i64| accepted.new_ones([count], (Kind::Float, accepted.device()));
        let views = accepted.repeat([strong.len() as i64]);
        let after = output.logits.size()[0] - before - views.size()[0];
        let weights = Tensor::cat(&[ones(before), views, ones(after)], 0);
        anchor.term(input, &output.logits, &weights)
    }
}
