//! RandAugment against its published ranges and against torchvision's operations (the script that
//! made the golden file is in the same folder); cutout, block mask and mixing against their
//! definitions.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::augmentation::api::Augmentation;
use sluicebox_learn::augmentation::mix::{Shares, cutmix, mixup};
use sluicebox_learn::augmentation::randaugment::{Change, OPS, Op, Variant, changed};
use std::collections::{BTreeSet, HashMap};
use tch::{Device, Kind, Tensor};

fn draws(step: u64) -> Draws {
    Randomness::new(7, 0).at(step, Stage::StrongView)
}

fn op(name: &str) -> Op {
    serde_json::from_value(name.into()).unwrap()
}

fn build(kind: &str, options: &str) -> Box<dyn Augmentation> {
    let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
    (AUGMENTATIONS.find(kind).unwrap().build)(&spec).unwrap()
}

/// Returns the values of a tensor of any kind.
fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_kind(Kind::Double).flatten(0, -1).try_into().unwrap()
}

#[test]
fn googles_amounts_are_the_published_ones_on_32_pixels() {
    let levels = 1..=9;
    let both =
        |one: fn(i32) -> f64| -> Vec<f64> { (1..=9).flat_map(|level| [one(level), -one(level)]).collect() };
    let factors: Vec<f64> = levels.clone().map(|level| 1.8 * f64::from(level) / 10.0 + 0.1).collect();
    for (name, expected) in [
        ("rotate", both(|level| f64::from(3 * level))),
        ("shear-x", both(|level| 0.3 * f64::from(level) / 10.0)),
        ("shear-y", both(|level| 0.3 * f64::from(level) / 10.0)),
        ("translate-x", both(f64::from)),
        ("translate-y", both(f64::from)),
        ("posterize", vec![4.0, 3.0, 2.0, 1.0]),
        ("solarize", [231, 205, 180, 154, 128, 103, 77, 52, 26].map(f64::from).to_vec()),
        ("brightness", factors.clone()),
        ("contrast", factors.clone()),
        ("color", factors.clone()),
        ("sharpness", factors),
    ] {
        let whole = |amount: f64| (1e6 * amount).round() as i64;
        let mut draws = draws(0);
        let found: BTreeSet<i64> =
            (0..2000).map(|_| whole(Variant::Google.draw(op(name), 32, 32, &mut draws))).collect();
        assert_eq!(found, expected.into_iter().map(whole).collect(), "{name}");
    }
}

#[test]
fn usbs_amounts_fill_the_published_ranges() {
    for (name, low, high) in [
        ("rotate", -30.0, 30.0),
        ("shear-x", -0.3, 0.3),
        ("shear-y", -0.3, 0.3),
        ("translate-x", -0.3 * 40.0, 0.3 * 40.0),
        ("translate-y", -0.3 * 20.0, 0.3 * 20.0),
        ("posterize", 4.0, 7.0),
        ("solarize", 0.0, 256.0),
        ("brightness", 0.05, 0.95),
        ("contrast", 0.05, 0.95),
        ("color", 0.05, 0.95),
        ("sharpness", 0.05, 0.95),
    ] {
        let mut draws = draws(0);
        let found: Vec<f64> = (0..5000).map(|_| Variant::Usb.draw(op(name), 20, 40, &mut draws)).collect();
        let least = found.iter().copied().fold(f64::MAX, f64::min);
        let most = found.iter().copied().fold(f64::MIN, f64::max);
        let near = 0.01 * (high - low);
        assert!(low - 1e-6 <= least && least < low + near, "{name}: {least} for {low}");
        assert!(high - near < most && most <= high + 1e-6, "{name}: {most} for {high}");
        if name == "posterize" {
            assert!(found.iter().all(|bits| bits.fract() == 0.0));
        }
    }
}

#[test]
fn variants_do_as_many_operations_as_published() {
    assert_eq!((Variant::Google.operations(), Variant::Google.probability()), (2, 0.5));
    assert_eq!((Variant::Usb.operations(), Variant::Usb.probability()), (3, 1.0));
    tch::manual_seed(1);
    let batch = (Tensor::rand([400, 3, 8, 8], (Kind::Float, Device::Cpu)) * 255.0).round() / 255.0;
    let changed = |options: &str| {
        let view = build("randaugment", options).apply(&batch, &mut draws(1));
        let gap = (view - &batch).abs().flatten(1, -1).amax([1].as_slice(), false);
        gap.gt(0.001).sum(Kind::Int64).int64_value(&[])
    };
    assert_eq!(changed("variant = \"google\"\nprobability = 0.0"), 0);
    // A quarter of the images has no operation, and some operations change nothing on these images.
    let google = changed("variant = \"google\"");
    assert!((200..300).contains(&google), "{google}");
    let usb = changed("variant = \"usb\"");
    assert!((360..=400).contains(&usb), "{usb}");
    assert!(changed("variant = \"usb\"\noperations = 1") < usb);
}

#[test]
fn operations_give_what_torchvision_gives() {
    let path = crate::golden_folder().join("randaugment.safetensors");
    let golden: HashMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    let mut seen = BTreeSet::new();
    for (name, image) in golden.iter().filter(|(name, _)| !name.contains('/')) {
        // All changes of an image are in one batch, so that operations are mixed as in use.
        let (mut changes, mut expected) = (Vec::new(), Vec::new());
        for (key, result) in &golden {
            if let [of, operation, amount] = key.split('/').collect::<Vec<_>>()[..]
                && of == name
            {
                seen.insert(op(operation));
                let sample = changes.len() as i64;
                changes.push(Change { sample, op: op(operation), amount: amount.parse().unwrap() });
                expected.push((key, result));
            }
        }
        let levels = image.unsqueeze(0).repeat([changes.len() as i64, 1, 1, 1]);
        let levels = changed(&levels, vec![changes.clone()], 77.0);
        for (change, (key, expected)) in changes.iter().zip(expected) {
            let found = values(&levels.get(change.sample));
            let gaps: Vec<f64> = found.iter().zip(values(expected)).map(|(a, b)| (a - b).abs()).collect();
            let most = gaps.iter().copied().fold(0.0, f64::max);
            let off = gaps.iter().filter(|gap| **gap > 0.0).count();
            if GEOMETRIC.contains(&change.op) {
                // A pixel may come from the neighbour where its origin lies between two.
                assert!(off * 100 <= gaps.len(), "{key}: {off} of {} pixels differ", gaps.len());
            } else {
                assert!(most <= 1.0 && off * 50 <= gaps.len(), "{key}: {off} differ, by up to {most}");
            }
        }
    }
    assert_eq!(seen.len(), OPS.len());
}

#[test]
fn rounds_at_once_are_rounds_one_after_the_other() {
    tch::manual_seed(5);
    for shape in [[60, 1, 28, 28], [60, 3, 9, 14]] {
        let levels = Tensor::randint(256, shape, (Kind::Uint8, Device::Cpu));
        let mut draws = draws(1);
        let mut round = |shift: usize| -> Vec<Change> {
            let change = |sample: i64| {
                let op = OPS[(5 * sample as usize + shift) % OPS.len()];
                Change { sample, op, amount: Variant::Usb.draw(op, shape[2], shape[3], &mut draws) }
            };
            (0..shape[0]).map(change).collect()
        };
        let rounds = [round(0), round(3), round(8)];
        let one_by_one = rounds
            .iter()
            .fold(levels.shallow_clone(), |levels, changes| changed(&levels, vec![changes.clone()], 77.0));
        assert!(changed(&levels, rounds.to_vec(), 77.0).equal(&one_by_one), "{shape:?}");
    }
}

#[test]
fn sharpness_of_0_is_the_rounded_mean_of_thirteenths() {
    tch::manual_seed(6);
    let levels = Tensor::randint(256, [50, 1, 12, 17], (Kind::Uint8, Device::Cpu));
    let changes = (0..50).map(|sample| Change { sample, op: op("sharpness"), amount: 0.0 }).collect();
    let (found, levels) = (values(&changed(&levels, vec![changes], 0.0)), values(&levels));
    for (place, found) in found.into_iter().enumerate() {
        let (row, column) = (place / 17 % 12, place % 17);
        let at = |down: usize, right: usize| levels[place + 17 * down + right - 18] as i64;
        let expected = match (1..11).contains(&row) && (1..16).contains(&column) {
            true => {
                let nine: i64 = (0..9).map(|near| at(near / 3, near % 3)).sum();
                (2 * (nine + 4 * at(1, 1)) + 13) / 26
            }
            false => levels[place] as i64,
        };
        assert_eq!(found as i64, expected, "row {row}, column {column}");
    }
}

const GEOMETRIC: [Op; 5] = [Op::Rotate, Op::ShearX, Op::ShearY, Op::TranslateX, Op::TranslateY];

#[test]
fn usbs_cutout_has_sides_up_to_a_half_and_a_colour() {
    let batch = Tensor::ones([500, 3, 32, 32], (Kind::Float, Device::Cpu));
    let cutout = build("cutout", "varies = true\nfill = [0.2, 0.4, 0.6]");
    let view = cutout.apply(&batch, &mut draws(2));
    let covered = view.select(1, 0).lt(0.5);
    let sides = values(&covered.any_dim(1, false).sum_dim_intlist([1].as_slice(), false, Kind::Int64));
    assert!(sides.iter().all(|side| *side <= 16.0) && sides.contains(&16.0));
    assert!(sides.iter().filter(|side| **side < 4.0).count() > 50);
    for (channel, fill) in [(0, 0.2), (1, 0.4), (2, 0.6)] {
        let filled = view.select(1, channel).masked_select(&covered);
        assert!((filled - fill).abs().max().double_value(&[]) < 1e-6);
    }
    let grey = sluicebox_core::sample::Shape::Image { channels: 1, height: 8, width: 8 };
    assert!(cutout.refuses(grey).unwrap().contains("3 channels"));
}

#[test]
fn block_mask_masks_whole_blocks_at_its_ratio() {
    let batch = Tensor::ones([300, 1, 32, 64], (Kind::Float, Device::Cpu));
    let view = build("block-mask", "block = 0.25\nratio = 0.7\nfill = 0.0").apply(&batch, &mut draws(3));
    let blocks = view.avg_pool2d([8, 8], [8, 8], [0, 0], false, true, None::<i64>);
    assert!(values(&blocks).iter().all(|mean| *mean == 0.0 || *mean == 1.0));
    let masked = 1.0 - view.mean(Kind::Float).double_value(&[]);
    assert!((masked - 0.7).abs() < 0.02, "{masked}");
}

#[test]
fn mixup_takes_its_share_of_each_sample_and_target() {
    let batch = Tensor::arange(64, (Kind::Float, Device::Cpu)).view([64, 1])
        * Tensor::ones([1, 5], (Kind::Float, Device::Cpu));
    let mixed = mixup(&batch, &Shares::new(0.75, false).unwrap(), None, &mut draws(4));
    let (partner, share) = (values(&mixed.partner), values(&mixed.share));
    let mut sorted = partner.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, (0..64).map(f64::from).collect::<Vec<_>>(), "partners are a permutation");
    for (sample, found) in values(&mixed.input.select(1, 2)).into_iter().enumerate() {
        let expected = share[sample] * sample as f64 + (1.0 - share[sample]) * partner[sample];
        assert!((found - expected).abs() < 1e-4, "{sample}: {found} for {expected}");
    }
    // One-hot rows that identify each sample show how the targets were mixed.
    let targets = mixed.targets(&Tensor::eye(64, (Kind::Float, Device::Cpu)));
    let sums = targets.matmul(&batch.select(1, 0));
    assert!((sums - mixed.input.select(1, 0)).abs().max().double_value(&[]) < 1e-4);
    assert!(Shares::new(0.0, false).is_err() && Shares::new(f64::NAN, true).is_err());
}

#[test]
fn shares_follow_the_beta_distribution() {
    let batch = Tensor::zeros([20_000, 1], (Kind::Float, Device::Cpu));
    let moments = |dominant: bool| {
        let share = mixup(&batch, &Shares::new(0.75, dominant).unwrap(), None, &mut draws(5)).share;
        let least = share.min().double_value(&[]);
        (share.mean(Kind::Float).double_value(&[]), share.var(true).double_value(&[]), least)
    };
    // Beta(a, a) has mean 1/2 and variance 1/(4(2a + 1)).
    let (mean, variance, _) = moments(false);
    assert!((mean - 0.5).abs() < 0.01 && (variance - 0.1).abs() < 0.003, "{mean}, {variance}");
    let (mean, _, least) = moments(true);
    assert!(least >= 0.5 && mean > 0.7, "{least}, {mean}");
}

#[test]
fn cutmixs_share_is_what_its_box_leaves() {
    let batch = Tensor::arange(200, (Kind::Float, Device::Cpu)).view([200, 1, 1, 1])
        * Tensor::ones([1, 3, 12, 20], (Kind::Float, Device::Cpu));
    let mixed = cutmix(&batch, &Shares::new(1.0, false).unwrap(), &mut draws(6));
    let own = mixed.input.eq_tensor(&batch);
    let of_partner = mixed.input.eq_tensor(&batch.index_select(0, &mixed.partner));
    assert!(bool::try_from(own.logical_or(&of_partner).all()).unwrap());
    let kept = values(&own.to_kind(Kind::Float).mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float));
    let (share, partner) = (values(&mixed.share), values(&mixed.partner));
    let mut mean = 0.0;
    for sample in 0..200 {
        if partner[sample] != sample as f64 {
            assert!((kept[sample] - share[sample]).abs() < 1e-5, "{sample}");
        }
        mean += share[sample] / 200.0;
    }
    assert!(mean > 0.5 && mean < 0.85, "{mean}");
    let again = cutmix(&batch, &Shares::new(1.0, false).unwrap(), &mut draws(6));
    assert!(again.input.equal(&mixed.input), "draws alone decide");
}
