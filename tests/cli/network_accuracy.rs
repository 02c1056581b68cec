//! Where experts answer beside the network, the accuracy of both is told wherever one is: a job whose network
//! never learns, and one without late labels.

use crate::support::output;
use serde_json::Value;
use sluicebox::compare::outcome::Measure;
use sluicebox::job::Job;
use sluicebox_learn::input::{scaled, tensor};
use sluicebox_observe::history::History;
use sluicebox_stream::source::api::Context;
use std::path::Path;
use tch::{CModule, Kind, Tensor};

/// Late labels on digits. The learning rate is so low that the network stays at chance.
const LATE: [&str; 12] = [
    "source.labelled_per_class=1",
    "labels.rate=0.2",
    "labels.delay=300",
    "memory.replay=uniform",
    "model={ kind = \"mlp\", hidden = [24] }",
    "method={ kind = \"supervised\" }",
    "optimiser.learning_rate=1e-12",
    "epoch.steps=40",
    "stop.epochs=2",
    "precision=f32",
    "threads=1",
    "name=late",
];

/// Returns the arguments of a command on the digits job with these settings.
fn arguments<'a>(command: &'a str, sets: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    [command, "pipelines/digits.toml"].into_iter().chain(sets).chain(more.iter().copied()).collect()
}

/// Runs a command that succeeds; returns stdout.
fn done(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = output(arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    stdout
}

/// Returns the fraction that is right of the digits job's held-out samples, by the logits that `network` returns.
fn right(sets: &[&str], network: impl Fn(&Tensor) -> Tensor) -> f64 {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let job = Job::load(&crate::support::root().join("pipelines/digits.toml"), &sets).unwrap();
    let context = Context { seed: job.seed, ..Context::default() };
    let sources = sluicebox::run::sources(&job, &context).unwrap();
    let held_out = sources.held_out(job.report.held_out).unwrap().unwrap();
    let samples = held_out.at(0);
    let format = sources.format();
    let logits = network(&scaled(&tensor(&samples.values, format.shape), format.scale));
    let right = logits.argmax(1, false).eq_tensor(&Tensor::from_slice(&samples.classes));
    right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_network_at_chance_behind_good_answers_is_told_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let stdout = done(&arguments("run", &LATE, &["--state", state, "--log", "json"]));
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., report, summary] = &rows[..] else { panic!("{stdout}") };
    let (answers, network) = (number(summary, "accuracy"), number(summary, "network_accuracy"));
    assert!(answers > 0.6 && network < 0.35, "{answers} {network}");
    assert_eq!((number(report, "accuracy"), number(report, "network_accuracy")), (answers, network));
    let [answered, alone] =
        ["prequential_accuracy", "network_prequential_accuracy"].map(|key| number(summary, key));
    assert!(alone < 0.35 && answered > alone + 0.2, "{answered} {alone}");
    assert_eq!(number(report, "network_prequential_accuracy_total"), alone);
    let newest = History::read(Path::new(state)).unwrap().series(2..=2, 1).unwrap();
    assert_eq!((newest[0].mean.accuracy, newest[0].mean.network_accuracy), (Some(answers), Some(network)));

    // A resumed job still knows both.
    let again = done(&arguments("run", &LATE, &["--state", state]));
    let again: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    for key in ["accuracy", "network_accuracy", "prequential_accuracy", "network_prequential_accuracy"] {
        assert_eq!(again[key], summary[key], "{key}");
    }

    let evaluated: Value = serde_json::from_str(&done(&["eval", state, "--json"])).unwrap();
    assert_eq!((number(&evaluated, "accuracy"), number(&evaluated, "network_accuracy")), (answers, network));
    let text = done(&["eval", state]);
    for line in [
        format!("accuracy           {:>7.2}%\n", 100.0 * answers),
        format!("network accuracy   {:>7.2}%\n", 100.0 * network),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }

    // An exported network is what `network_accuracy` says, and its file says so.
    let weights = folder.path().join("model.safetensors");
    let said = done(&["export", state, "--to", weights.to_str().unwrap()]);
    let left_out = "not in the file: what the job's answers add to the network, the class prior (answer.prior = \
                    \"present\") and the experts (answer.blend): on held-out samples the network alone was \
                    right in";
    assert!(said.contains(left_out), "{said}");
    let named = Tensor::read_safetensors(&weights).unwrap();
    let of = |name: &str| named.iter().find(|(found, _)| found == name).unwrap().1.shallow_clone();
    let layer = |x: &Tensor, at: usize| {
        x.matmul(&of(&format!("layers.{at}.weight")).tr()) + of(&format!("layers.{at}.bias"))
    };
    let by_hand = right(&LATE, |samples| layer(&layer(&samples.flatten(1, -1), 0).relu(), 2));
    assert!((by_hand - network).abs() < 1e-6, "{by_hand} {network}");
    let script = folder.path().join("model.pt");
    done(&["export", state, "--to", script.to_str().unwrap()]);
    let module = CModule::load(&script).unwrap();
    let scripted = right(&LATE, |samples| module.forward_ts(&[samples]).unwrap());
    assert!((scripted - network).abs() < 1e-6, "{scripted} {network}");
    // A job takes it for its network.
    let (foreign, other) =
        (format!("model={{ kind = \"torchscript\", path = {script:?} }}"), folder.path().join("other"));
    let sets: Vec<&str> =
        LATE.into_iter().filter(|set| !set.starts_with("model")).chain([&foreign[..]]).collect();
    let other = other.to_str().unwrap();
    let stdout = done(&arguments("run", &sets, &["--set", "stop.epochs=1", "--state", other]));
    let taken: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert!((number(&taken, "network_accuracy") - network).abs() < 1e-6, "{taken}");
    let (code, _, stderr) = output(&["export", other, "--to", script.to_str().unwrap()]);
    assert!(code == 2 && stderr.contains("is a TorchScript file already"), "{code} {stderr}");

    let bytes = std::fs::read(&weights).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let head: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let about =
        |key: &str| -> Value { serde_json::from_str(head["__metadata__"][key].as_str().unwrap()).unwrap() };
    assert_eq!((about("accuracy"), about("network_accuracy")), (answers.into(), network.into()));
    assert_eq!(
        (about("step"), about("evaluated_step"), about("shape")),
        (80.into(), 80.into(), vec![1, 8, 8].into())
    );
    assert_eq!((about("model")["hidden"][0].as_u64(), about("classes")[9].as_str()), (Some(24), Some("9")));
    assert_eq!((&head["__metadata__"]["dtype"], about("scale")), (&"u8".into(), (1.0f32 / 16.0).into()));
}

#[test]
fn a_network_that_answers_alone_is_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let sets = ["epoch.steps=20", "stop.epochs=1", "precision=f32", "threads=1"];
    let state = state.to_str().unwrap();
    let stdout = done(&arguments("run", &sets, &["--state", state]));
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["accuracy"], summary["network_accuracy"]);
    assert_eq!(summary["prequential_accuracy"], summary["network_prequential_accuracy"]);
    let file = folder.path().join("model.safetensors");
    let said = done(&["export", state, "--to", file.to_str().unwrap()]);
    assert_eq!(said.lines().count(), 1, "{said}");
    let (code, _, stderr) =
        output(&["export", state, "--to", folder.path().join("model.bin").to_str().unwrap()]);
    assert!(code == 2 && stderr.contains("say which with --form"), "{code} {stderr}");
}

#[test]
fn compare_shows_both_and_measures_either() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let more = ["--vary", "memory.replay=uniform,recent", "--seeds", "1", "--equal", "samples", "--out"];
    let more = [&more[..], &[out.to_str().unwrap()]].concat();
    let told = |more: &[&str]| {
        let stdout = done(&arguments("compare", &LATE, more));
        let text = std::fs::read_to_string(out.join("compare.json")).unwrap();
        (stdout, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (stdout, found) = told(&more);
    assert!(stdout.contains("network: network accuracy on held-out samples"), "{stdout}");
    assert_eq!((&found["measure"], &found["beside"]), (&"accuracy".into(), &"network_accuracy".into()));
    let mean = |found: &Value, row: usize, key: &str| number(&found["rows"][row][key], "mean");
    let outcome = &found["runs"][0]["outcome"];
    assert_eq!(mean(&found, 0, "quality_at_samples"), number(outcome, "accuracy"));
    assert_eq!(mean(&found, 0, "beside_at_samples"), number(outcome, "network_accuracy"));
    assert!(mean(&found, 0, "quality_at_samples") > mean(&found, 0, "beside_at_samples") + 0.2);
    // The runs are done: only the measure is another.
    let (stdout, other) = told(&[&more[..], &["--measure", "network_accuracy"]].concat());
    assert!(stdout.contains("answer: accuracy on held-out samples"), "{stdout}");
    assert_eq!(mean(&other, 1, "quality_at_samples"), mean(&found, 1, "beside_at_samples"));
    assert_eq!(mean(&other, 1, "beside_at_samples"), mean(&found, 1, "quality_at_samples"));
    let measures = [Measure::Accuracy, Measure::PrequentialAccuracy];
    assert!(measures.iter().all(|measure| measure.other(true).other(true) == *measure));
}
