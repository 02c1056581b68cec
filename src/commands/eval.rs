//! `eval`: evaluates the newest checkpoint.

use clap::Args;
use sluicebox::engine::checkpoint::Pick;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;
use sluicebox_learn::evaluation::Evaluation;
use std::path::PathBuf;

/// Arguments of `eval`.
#[derive(Args)]
pub struct Eval {
    /// The state folder of a job.
    state: PathBuf,
    /// Evaluate the best checkpoint (checkpoint.best) instead of the newest.
    #[arg(long)]
    best: bool,
    /// Evaluate on another source, such as csv; set its options with --set source.path=….
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Override a key of the saved job; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Most samples to evaluate.
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints accuracy, that of the network alone, classes, confusion and calibration.
pub fn eval(arguments: Eval) -> Result<()> {
    let mut sets = arguments.set;
    // The kind of the source goes first, since the options that follow belong to it.
    sets.splice(0..0, arguments.source.map(|kind| format!("source.kind={kind}")));
    let (found, format) = sluicebox::run::evaluate::saved(
        &arguments.state,
        Pick::best_if(arguments.best),
        &sets,
        arguments.limit,
    )?;
    if arguments.json {
        say(&serde_json::to_string(&found).map_err(Error::request)?);
        return Ok(());
    }
    say(&text(&found, &format.classes));
    Ok(())
}

/// Most classes in the table. With more, it lists the worst ones and no matrix.
const CLASSES: usize = 50;
/// Most of its errors that are listed of a class.
const ERRORS: usize = 3;

/// Returns the result as text of at most [`CLASSES`] + 11 lines.
fn text(found: &Evaluation, classes: &[String]) -> String {
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    let mut lines = vec![
        format!("samples            {:>8}", found.samples),
        format!("accuracy           {:>8}", percent(found.accuracy)),
        format!("network accuracy   {:>8}", percent(found.network_accuracy)),
        format!("balanced accuracy  {:>8}", found.balanced_accuracy.map_or("-".into(), percent)),
        format!("worst class recall {:>8}", found.worst_class_recall.map_or("-".into(), percent)),
        format!("calibration error  {:>8}", percent(found.calibration_error)),
    ];
    if found.not_finite > 0 {
        let count = found.not_finite;
        lines.push(format!("not finite         {count:>8}   samples without an answer; they count as wrong"));
    }
    lines.push(String::new());
    let accuracy = |class: usize| found.class_accuracy[class].map_or("-".into(), percent);
    if classes.len() <= CLASSES {
        let head: String = classes.iter().map(|class| format!(" {class:>6}")).collect();
        lines.push(format!("class        accuracy   predicted as{head}"));
        for (class, name) in classes.iter().enumerate() {
            let mut row = vec![0; classes.len()];
            found.confusion.row(class as u32).for_each(|(given, samples)| row[given as usize] = samples);
            let row: String = row.iter().map(|count| format!(" {count:>6}")).collect();
            lines.push(format!("{name:<12} {:>8}           {row}", accuracy(class)));
        }
        return lines.join("\n");
    }
    let counts = found.confusion.by_class();
    let wrong = |class: usize| counts[class].0 - counts[class].1;
    let mut worst: Vec<usize> = (0..classes.len()).filter(|class| wrong(*class) > 0).collect();
    worst.sort_by_key(|class| std::cmp::Reverse(wrong(*class)));
    let (shown, all) = (worst.len().min(CLASSES), classes.len());
    lines.push(format!(
        "the {shown} of {all} classes with the most errors; --json prints all classes and the matrix"
    ));
    lines.push("class         samples accuracy   most often wrong as".into());
    for class in worst.into_iter().take(CLASSES) {
        let mut errors: Vec<(u32, u64)> = found.confusion.row(class as u32).collect();
        errors.retain(|(given, _)| *given as usize != class);
        errors.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
        let error = |(given, samples): &(u32, u64)| format!("{} ({samples})", classes[*given as usize]);
        let errors: Vec<String> = errors.iter().take(ERRORS).map(error).collect();
        let (name, samples) = (&classes[class], counts[class].0);
        lines.push(format!("{name:<12} {samples:>8} {:>8}   {}", accuracy(class), errors.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_learn::confusion_matrix::ConfusionMatrix;

    /// Returns names and an evaluation: of class k, min(k, 99) of 100 samples are given to the class after it.
    fn found(classes: usize) -> (Vec<String>, Evaluation) {
        let mut confusion = ConfusionMatrix::new(classes);
        for class in 0..classes {
            (0..100).for_each(|at| {
                confusion.add(class as u32, ((class + usize::from(at < class.min(99))) % classes) as u32)
            });
        }
        let of_class = |(all, right): (u64, u64)| (all > 0).then(|| right as f64 / all as f64);
        let class_accuracy: Vec<Option<f64>> = confusion.by_class().into_iter().map(of_class).collect();
        let worst_class_recall = class_accuracy.iter().flatten().copied().reduce(f64::min);
        let (accuracy, network_accuracy) = (confusion.right() as f64 / (100 * classes) as f64, 0.125);
        let samples = 100 * classes;
        let evaluation = Evaluation {
            samples,
            accuracy,
            network_accuracy,
            class_accuracy,
            balanced_accuracy: Some(accuracy),
            worst_class_recall,
            confusion,
            calibration_error: 0.0,
            not_finite: 0,
        };
        ((0..classes).map(|class| format!("c{class}")).collect(), evaluation)
    }

    #[test]
    fn few_classes_have_a_matrix() {
        let (names, found) = found(3);
        let text = text(&found, &names);
        assert!(text.contains("accuracy             99.00%\nnetwork accuracy     12.50%\n"), "{text}");
        assert!(text.ends_with("c2             98.00%                 2      0     98"), "{text}");
    }

    #[test]
    fn of_many_classes_the_worst_are_listed() {
        let (names, found) = found(10_000);
        let text = text(&found, &names);
        assert!(text.contains("the 50 of 10000 classes with the most errors"), "{text}");
        assert!(text.contains("c99               100    1.00%   c100 (99)"), "{text}");
        assert!(text.lines().count() <= CLASSES + 10 && text.len() < 8000, "{}", text.len());
    }
}
