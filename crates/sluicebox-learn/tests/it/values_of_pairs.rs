//! Methods of two networks, of two views of unlabelled samples and of mixtures, against values worked out by hand from their
//! papers' formulas, to four decimals.

use crate::values::{loss, method, near, output, rows, scores, soft};
use sluicebox_learn::augmentation::mix::Mixed;
use sluicebox_learn::method::api::MIXTURE;
use tch::{Kind, Tensor};

#[test]
fn unmixmatch_learns_from_unlabelled_samples_what_needs_no_class() {
    let method = method("unmixmatch", "contrast_weight = 1.0\nturn_weight = 0.0");
    let said = scores(rows(&[[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]]));
    let told = method.pseudo_labeller().pseudo_label(&said);
    near(&soft(&told).get(0), &[0.3247, 0.4675, 0.2078], "aligned and sharpened");
    let logits = rows(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).set_requires_grad(true);
    let projections = [rows(&[[2.0, 0.0], [0.0, 2.0]]), rows(&[[0.8, 0.6], [0.6, 0.8]])];
    let projections = projections.map(|rows| rows.set_requires_grad(true));
    let views = projections.iter().map(|view| output(logits.shallow_clone(), vec![view.shallow_clone()]));
    let loss = loss(&*method, &told, views.collect());
    near(&loss.total, &[0.8707], "NT-Xent");
    loss.total.backward();
    assert!(!logits.grad().defined(), "no class is learned from an unlabelled sample");
    assert!(projections.iter().all(|view| view.grad().defined()));
}

#[test]
fn cps_teaches_each_network_what_the_other_one_says() {
    let method = method("cps", "threshold = 0.0");
    let logits = [rows(&[[2.0, 0.0]]), rows(&[[0.0, 1.0]])].map(|rows| rows.set_requires_grad(true));
    let mut said = scores(logits[0].detach().softmax(1, Kind::Float));
    said.heads = vec![logits[1].detach()];
    let told = method.pseudo_labeller().pseudo_label(&said);
    near(&told.class.to_kind(Kind::Float), &[1.0], "the twin's class");
    let strong = vec![output(logits[0].shallow_clone(), vec![logits[1].shallow_clone()])];
    let loss = loss(&*method, &told, strong);
    near(&loss.unlabelled, &[2.1269 + 1.3133], "both cross-entropies");
    near(&loss.total, &[5.1603], "weighted");
    loss.total.backward();
    // The gradient is p - y of the network's own probabilities, times 1.5.
    near(&logits[0].grad(), &[1.5 * 0.8808, -1.5 * 0.8808], "gradient of the first");
    near(&logits[1].grad(), &[-1.5 * 0.7311, 1.5 * 0.7311], "gradient of the second");
}

#[test]
fn cps_drops_what_neither_network_is_sure_of() {
    let method = method("cps", "");
    let mut said = scores(rows(&[[0.97, 0.03], [0.6, 0.4], [0.5, 0.5]]));
    said.heads = vec![rows(&[[0.0, 0.0], [0.0, 9.0], [1.0, 0.0]])];
    let told = method.pseudo_labeller().pseudo_label(&said);
    near(&told.weight, &[0.0, 1.0, 0.0], "sure is the second network");
    near(&told.rows["twin"], &[1.0, 0.0, 0.0], "sure is the first network");
    assert_eq!(Vec::<bool>::try_from(told.selected()).unwrap(), [true, true, false]);
}

#[test]
fn co_teaching_forgets_more_over_its_ramp() {
    let kept = |step: u64| {
        let mut said = scores(rows(&[[0.9, 0.1]]));
        said.step = step;
        said.heads = vec![rows(&[[0.0, 0.0]])];
        let method = method("co-teaching", "forget = 0.3\nramp_steps = 100");
        method.pseudo_labeller().pseudo_label(&said).constants["kept"].double_value(&[])
    };
    for (step, expected) in [(0, 1.0), (50, 0.85), (100, 0.7), (1000, 0.7)] {
        assert!((kept(step) - expected).abs() < 1e-6, "{step}");
    }
}

#[test]
fn bcp_mixes_labels_and_probabilities_by_area() {
    let method = method("bcp", "temperature = 1.0");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.0, 0.9, 0.1]])));
    near(soft(&told), &[0.0, 0.45, 0.05], "half of the probabilities");
    let hard = self::method("bcp", "ramp_steps = 2000");
    let of_half_a_ramp = hard.pseudo_labeller().pseudo_label(&scores(rows(&[[0.0, 0.9, 0.1]])));
    near(soft(&of_half_a_ramp), &[0.0, 0.25, 0.0], "a quarter of the likeliest class");
    let (input, partner) = (rows(&[[0.0]]), Tensor::from_slice(&[0i64]));
    let mixed = Mixed { input, partner, share: Tensor::from_slice(&[5.0f32 / 9.0]) };
    let target = mixed.targets_with(&rows(&[[1.0, 0.0, 0.0]]), soft(&told));
    near(&target, &[0.5556, 0.2000, 0.0222], "not scaled to sum 1");
}

#[test]
fn semixup_holds_views_and_mixtures_together() {
    let views = |probabilities: [[f32; 2]; 3]| {
        probabilities.map(|of_view| output(rows(&[of_view]).log(), Vec::new())).into_iter().collect()
    };
    let plain = method("semixup", "within_weight = 2.0\nmixture_weight = 0.0");
    let mut told = plain.pseudo_labeller().pseudo_label(&scores(rows(&[[0.5, 0.5]])));
    told.rows.insert(MIXTURE, rows(&[[1.0]]));
    let found = loss(&*plain, &told, views([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]])).total;
    near(&found, &[0.0800 + 0.0200 + 0.0200], "within, and across");
    let mixed = method("semixup", "within_weight = 0.0\nacross_weight = 0.0");
    let mut told = mixed.pseudo_labeller().pseudo_label(&scores(rows(&[[0.5, 0.5], [0.5, 0.5]])));
    told.rows.insert(MIXTURE, rows(&[[0.7, 0.3], [0.3, 0.7]]));
    let logits = rows(&[[1.0, 0.0], [0.0, 1.0]]).set_requires_grad(true);
    let strong = vec![
        output(logits.shallow_clone(), Vec::new()),
        output(rows(&[[0.0, 0.0], [0.0, 0.0]]), Vec::new()),
        output(rows(&[[0.7, 0.3], [0.3, 0.7]]).log().set_requires_grad(true), Vec::new()),
    ];
    let found = loss(&*mixed, &told, strong);
    near(&found.total, &[0.0411], "mixed logits");
    found.total.backward();
    assert!(!logits.grad().defined(), "a target gets no gradient");
}
