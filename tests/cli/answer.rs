//! Whole answers in Python: what `export --answer` writes gives, in the Python package, the probabilities that the job
//! itself gives to the same samples.

use crate::python::{printed, python};
use crate::support::{output, root};
use sluicebox::engine::checkpoint::Pick;
use sluicebox::job::Job;
use sluicebox::job::compatibility::job_of;
use sluicebox::run::evaluate::answering;
use sluicebox_core::sample::Values;
use sluicebox_learn::input::tensor;
use sluicebox_learn::stages::teacher::{Answer, Inference};
use sluicebox_learn::weights::safetensors;
use sluicebox_stream::source::api::Context;
use std::fmt::Write;
use std::path::Path;
use tch::{Kind, Tensor};

/// Samples that are compared: more than the labelled rows at which neighbours look together.
const SAMPLES: usize = 250;
/// Largest difference of a probability.
const NEAR: f64 = 1e-4;

/// Late labels on digits that turn.
const IMAGES: [&str; 7] = [
    "source.labelled_per_class=2",
    "labels.rate=0.2",
    "labels.delay=300",
    "scenario.drift.rotation_degrees=90",
    "epoch.steps=20",
    "precision=f32",
    "threads=1",
];
/// Late labels on the rows of a file.
const VECTORS: [&str; 8] = [
    "source.labelled_first=60",
    "labels.rate=0.3",
    "labels.delay=100",
    "batch.labelled=16",
    "batch.warmup_steps=20",
    "epoch.steps=50",
    "precision=f32",
    "threads=1",
];

/// A stream, what is set besides, the names in `Answer.shares`, and whether the network is the whole answer.
struct Case {
    name: &'static str,
    stream: Stream,
    sets: &'static [&'static str],
    shares: &'static [&'static str],
    alone: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Images,
    Vectors(usize),
}

const ALL: &str =
    "answer.experts=[\"discriminants\", \"random-features\", \"neighbours\", \"rescaled\", \"forest\"]";
const EVERYONE: [&str; 7] =
    ["network", "discriminants", "random-features", "neighbours", "rescaled", "forest", "corrected"];

const CASES: [Case; 13] = [
    Case { name: "vectors", stream: Stream::Vectors(11), sets: &[], shares: &EVERYONE, alone: false },
    Case {
        name: "vectors-discriminants",
        stream: Stream::Vectors(11),
        sets: &["answer.experts=[\"discriminants\"]"],
        shares: &["network", "discriminants", "corrected"],
        alone: false,
    },
    Case {
        name: "vectors-random-features",
        stream: Stream::Vectors(11),
        sets: &["answer.experts=[\"random-features\"]"],
        shares: &["network", "random-features", "corrected"],
        alone: false,
    },
    Case {
        name: "vectors-neighbours",
        stream: Stream::Vectors(11),
        sets: &["answer.experts=[\"neighbours\"]", "answer.prior=none"],
        shares: &["network", "neighbours"],
        alone: false,
    },
    Case {
        name: "vectors-forest",
        stream: Stream::Vectors(11),
        sets: &["answer.experts=[\"forest\"]", "answer.prior=none"],
        shares: &["network", "forest"],
        alone: false,
    },
    Case {
        name: "vectors-prior",
        stream: Stream::Vectors(11),
        sets: &["answer.blend=false"],
        shares: &["network", "corrected"],
        alone: false,
    },
    Case {
        name: "vectors-network",
        stream: Stream::Vectors(11),
        sets: &["answer.blend=false", "answer.prior=none"],
        shares: &["network"],
        alone: true,
    },
    Case { name: "many-features", stream: Stream::Vectors(150), sets: &[], shares: &EVERYONE, alone: false },
    Case { name: "images", stream: Stream::Images, sets: &[ALL], shares: &EVERYONE, alone: false },
    Case {
        name: "images-discriminants",
        stream: Stream::Images,
        sets: &[],
        shares: &["network", "discriminants", "corrected"],
        alone: false,
    },
    Case {
        name: "images-prior",
        stream: Stream::Images,
        sets: &["answer.prior=uniform", "answer.blend=true"],
        shares: &["network", "discriminants"],
        alone: false,
    },
    Case {
        name: "images-network",
        stream: Stream::Images,
        sets: &["answer.blend=false", "answer.prior=none"],
        shares: &["network"],
        alone: true,
    },
    Case {
        name: "no-late-labels",
        stream: Stream::Images,
        sets: &["labels.rate=0"],
        shares: &["network"],
        alone: true,
    },
];

/// Writes rows of three classes that drift: a skewed feature, one with few values, one that is mostly 0, and sums.
fn write_rows(path: &Path, features: usize) {
    let mut text = String::new();
    let mut state = 7u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    for at in 0..900 {
        let class = (3.0 * draw()) as usize;
        let turned = (class + at / 450) % 3;
        for feature in 0..features {
            let noise = draw() + draw() - 1.0;
            let value = match feature {
                0 => (3.0 * noise + turned as f64).exp(),
                1 => (4.0 * draw()).floor() + turned as f64,
                2 if draw() < 0.9 => 0.0,
                _ => noise + if feature % 3 == turned { 0.8 } else { 0.0 },
            };
            write!(text, "{value:.4},").unwrap();
        }
        writeln!(text, "c{class}").unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// Runs a job of a case; returns the arguments of its state folder.
fn run(case: &Case, folder: &Path, state: &str) {
    let rows = folder.join(format!("{}.csv", case.name));
    let source = format!("source.path={}", rows.display());
    let (pipeline, mut sets) = match case.stream {
        Stream::Images => ("pipelines/digits.toml", [&IMAGES[..], &["stop.epochs=1"]].concat()),
        Stream::Vectors(features) => {
            write_rows(&rows, features);
            ("pipelines/drifting.toml", [&VECTORS[..], &[source.as_str()]].concat())
        }
    };
    sets.extend(case.sets);
    let sets = sets.into_iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<&str> = ["run", pipeline, "--state", state].into_iter().chain(sets).collect();
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{}: {stdout}{stderr}", case.name);
}

/// Returns the newest samples of the job's source, and what the saved job answers.
fn answered(state: &Path) -> (Tensor, Answer) {
    let saved = Pick::Newest.read(state).unwrap();
    let job: Job = job_of(&saved).unwrap();
    let format = saved.manifest.job.format.clone();
    let values = match job.source_kinds()[0].as_str() {
        "digits" => {
            let sources =
                sluicebox::run::sources(&job, &Context { seed: job.seed, ..Context::default() }).unwrap();
            sources.held_out(SAMPLES + 100).unwrap().unwrap().at(0).into_owned().values
        }
        _ => {
            let path = job.sources[0].spec.options["path"].as_str().unwrap();
            let text = std::fs::read_to_string(path).unwrap();
            let numbers =
                |line: &str| -> Vec<f32> { line.split(',').filter_map(|field| field.parse().ok()).collect() };
            Values::F32(text.lines().skip(900 - SAMPLES).flat_map(numbers).collect())
        }
    };
    let samples = tensor(&values, format.shape).narrow(0, 0, SAMPLES as i64);
    let answering = answering(&saved, &job, &format).unwrap();
    let inference = Inference::corrected(answering.model, answering.compute, &answering.teacher);
    let input = samples.to_kind(Kind::Float) * f64::from(format.scale);
    (samples.to_kind(Kind::Float), inference.answer(&input))
}

#[test]
fn an_exported_answer_is_the_jobs_answer() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for case in &CASES {
        let path = |ending: &str| folder.path().join(format!("{}.{ending}", case.name));
        let state = path("state");
        run(case, folder.path(), state.to_str().unwrap());
        let (samples, answer) = answered(&state);
        assert_eq!(samples.size()[0], SAMPLES as i64);
        let network = answer.network.unwrap_or_else(|| answer.probabilities.shallow_clone());
        let apart = (&network - &answer.probabilities).abs().max().double_value(&[]);
        assert_eq!(apart < 0.01, case.alone, "{}: {apart} between network and answer", case.name);
        let expected = [("samples".to_string(), samples), ("answers".to_string(), answer.probabilities)];
        std::fs::write(path("expected"), safetensors(&expected).unwrap()).unwrap();
        let to = path("safetensors");
        let (code, said, stderr) =
            output(&["export", state.to_str().unwrap(), "--answer", "--to", to.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
        let told = match case.alone {
            true => "the network is the whole answer",
            false => "in the file as they are now: what the job's answers add to the network",
        };
        assert!(said.contains(told), "{}: {said}", case.name);
        names.push(case.name);
    }
    std::fs::copy(folder.path().join("images.safetensors"), folder.path().join("answer.safetensors"))
        .unwrap();
    let page = std::fs::read_to_string(root().join("docs/pytorch.md")).unwrap();
    let of_page = page.split("```python\n").find(|code| code.contains("Answer.load")).unwrap();
    let of_page = of_page.split("```").next().unwrap();
    let code = format!(
        "import torch\nsamples = torch.randint(17, (5, 1, 8, 8), dtype=torch.uint8)\n{of_page}\
         assert probabilities.shape == (5, 10)\nfrom safetensors.torch import load_file\nfrom sluicebox.answer import Answer\nfrom sluicebox.exported import load\n\
         for name in {names:?}:\n    expected = load_file(name + '.expected')\n    \
         answer = Answer.load(name + '.safetensors')\n    load(name + '.safetensors')\n    \
         gap = (answer(expected['samples']) - expected['answers']).abs().max().item()\n    \
         assert answer(expected['samples'][:0]).shape == (0, len(answer.about.classes))\n    \
         sum = __builtins__.sum(share for who, share in answer.shares.items() if who != 'corrected')\n    \
         print(name, gap, sum, *answer.shares)"
    );
    let text = printed(&python, folder.path(), &code);
    assert_eq!(text.lines().count(), 1 + CASES.len(), "{text}");
    for (line, case) in text.lines().skip(1).zip(&CASES) {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse::<f64>().unwrap();
        assert!(fields[0] == case.name && number(1) < NEAR, "{line}");
        assert!((number(2) - 1.0).abs() < 1e-5 && fields[3..] == *case.shares, "{line}");
    }
}

#[test]
fn what_is_no_whole_answer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    run(&CASES[11], folder.path(), state);
    let to = folder.path().join("model.pt");
    let (code, _, stderr) = output(&["export", state, "--answer", "--to", to.to_str().unwrap()]);
    assert!(code == 2 && stderr.contains("with --answer, write a .safetensors file"), "{code} {stderr}");
    assert!(!to.exists());
    let Some(python) = python() else { return };
    let to = folder.path().join("model.safetensors");
    let (code, _, stderr) = output(&["export", state, "--to", to.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let code = "from sluicebox.answer import Answer\ntry:\n    Answer.load('model.safetensors')\nexcept ValueError as error:\n    \
                print(error)";
    let text = printed(&python, folder.path(), code);
    assert!(text.contains("holds the network alone: export it with --answer"), "{text}");
}
