//! The table: quality of each variant at equal samples, equal passes and equal seconds.

use crate::compare::comparison::Comparison;
use crate::compare::statistics::{Statistics, best};
use sluicebox_core::report::Better;

/// Width of a line, in columns.
const WIDTH: usize = 120;

/// Format of a number.
#[derive(Clone, Copy)]
enum Form {
    /// In percent.
    Percent,
    /// With the suffix k, M or G where large.
    Short,
    /// Without a suffix.
    Plain,
}

/// A column.
struct Column {
    group: Group,
    name: &'static str,
    form: Form,
    better: Better,
}

/// Heading over several columns.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Samples,
    Passes,
    Seconds,
    Own,
}

const fn column(group: Group, name: &'static str, form: Form, better: Better) -> Column {
    Column { group, name, form, better }
}

/// Column of the measure beside that of quality. Its name in the table is what that one measures.
const BESIDE: &str = "beside";

/// Columns, in the order of [`crate::compare::row::Row::spreads`].
const COLUMNS: [Column; 9] = [
    column(Group::Samples, "accuracy", Form::Percent, Better::Higher),
    column(Group::Samples, BESIDE, Form::Percent, Better::Higher),
    column(Group::Samples, "passes", Form::Short, Better::Neither),
    column(Group::Passes, "accuracy", Form::Percent, Better::Higher),
    column(Group::Passes, "passes", Form::Short, Better::Neither),
    column(Group::Seconds, "accuracy", Form::Percent, Better::Higher),
    column(Group::Own, "precision", Form::Percent, Better::Higher),
    column(Group::Own, "seconds", Form::Plain, Better::Lower),
    column(Group::Own, "samples/s", Form::Short, Better::Higher),
];

/// Cells of a comparison, as text: one row per variant.
struct Cells {
    rows: Vec<[String; COLUMNS.len()]>,
    starred: bool,
}

impl Cells {
    /// Formats the values. The clear best of a column is passed through `mark`.
    fn new(comparison: &Comparison, between: &str, mark: impl Fn(String) -> String) -> Self {
        let spreads: Vec<[Option<Statistics>; COLUMNS.len()]> =
            comparison.rows.iter().map(|row| row.spreads()).collect();
        let of =
            |column: usize| -> Vec<Option<Statistics>> { spreads.iter().map(|row| row[column]).collect() };
        let better = |column: &Column| match column.name {
            "accuracy" => comparison.measure.better(),
            _ => column.better,
        };
        let best: Vec<Option<usize>> =
            COLUMNS.iter().enumerate().map(|(at, column)| best(&of(at), better(column))).collect();
        let cell = |row: usize, column: usize| {
            let text = spreads[row][column]
                .map_or("-".into(), |spread| written(spread, COLUMNS[column].form, between));
            if best[column] == Some(row) { mark(text) } else { text }
        };
        let rows = (0..spreads.len()).map(|row| std::array::from_fn(|column| cell(row, column)));
        Self { rows: rows.collect(), starred: best.iter().any(Option::is_some) }
    }
}

/// Formats a spread as `89.8±1.1` or `116.2±0.3k`.
fn written(spread: Statistics, form: Form, between: &str) -> String {
    let (factor, unit, places) = match form {
        Form::Percent => (100.0, "", 1),
        Form::Plain => (1.0, "", if spread.mean.abs() < 1000.0 { 2 } else { 0 }),
        Form::Short => short(spread.mean),
    };
    let number = |value: f64| format!("{:.places$}", factor * value);
    match spread.deviation {
        Some(deviation) => format!("{}{between}{}{unit}", number(spread.mean), number(deviation)),
        None => format!("{}{unit}", number(spread.mean)),
    }
}

/// Returns factor, unit and decimal places for a large number.
fn short(value: f64) -> (f64, &'static str, usize) {
    match value.abs() {
        size if size >= 1e9 => (1e-9, "G", 1),
        size if size >= 1e6 => (1e-6, "M", 1),
        size if size >= 1e4 => (1e-3, "k", 1),
        _ => (1.0, "", 0),
    }
}

/// Formats a single large number.
fn amount(value: f64) -> String {
    written(Statistics { mean: value, deviation: None, count: 1 }, Form::Short, "")
}

/// Returns the heading of a group of columns.
fn head(comparison: &Comparison, group: Group) -> String {
    let equal = &comparison.equal;
    match group {
        Group::Samples => match equal.samples {
            Some(samples) => format!("at {} samples", amount(samples as f64)),
            None => "at each job's own end".into(),
        },
        Group::Passes => {
            equal.passes.map_or("at equal passes".into(), |passes| format!("at {} passes", amount(passes)))
        }
        Group::Seconds => equal.seconds.map_or("at equal s".into(), |seconds| format!("at {seconds:.2} s")),
        Group::Own => String::new(),
    }
}

/// Returns the name of a column.
fn name(comparison: &Comparison, column: &Column) -> &'static str {
    if column.name == BESIDE { comparison.beside.of_what() } else { column.name }
}

/// Returns the title of the table.
fn title(comparison: &Comparison) -> String {
    let seeds: Vec<String> = comparison.seeds.iter().map(u64::to_string).collect();
    let seeds = format!("{} {}", if seeds.len() == 1 { "seed" } else { "seeds" }, seeds.join(", "));
    format!(
        "{}: {} in %, mean ± standard deviation over {seeds}",
        comparison.job.name,
        comparison.measure.about()
    )
}

/// Returns the table as text, at most 120 columns wide.
pub fn text(comparison: &Comparison) -> String {
    let cells = Cells::new(comparison, "±", |text| format!("{text}*"));
    let labels: Vec<String> = comparison.rows.iter().map(|row| row.variant.clone()).collect();
    let keys = comparison.keys.join(" / ");
    let count = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|at| {
            cells
                .rows
                .iter()
                .map(|row| count(&row[at]))
                .max()
                .unwrap_or(0)
                .max(count(name(comparison, &COLUMNS[at])))
        })
        .collect();
    let mut widths: Vec<usize> = widths.into_iter().map(|width| width + 2).collect();
    for group in [Group::Samples, Group::Passes, Group::Seconds] {
        let within: Vec<usize> = (0..COLUMNS.len()).filter(|at| COLUMNS[*at].group == group).collect();
        let wanted = count(&head(comparison, group)) + 2;
        let there: usize = within.iter().map(|at| widths[*at]).sum();
        widths[within[0]] += wanted.saturating_sub(there);
    }
    let numbers: usize = widths.iter().sum();
    let label = labels.iter().chain([&keys]).map(|label| count(label)).max().unwrap_or(0);
    // Where name and values do not fit on a line, a variant's name gets its own line.
    let apart = label + numbers > WIDTH;
    let indent = if apart { WIDTH.saturating_sub(numbers).min(8) } else { label };
    let line = |name: &str, cells: &[String]| {
        let cells: String = cells.iter().zip(&widths).map(|(cell, width)| right(cell, *width)).collect();
        match apart && !name.is_empty() {
            true => {
                format!("{}\n{}{cells}", name.chars().take(WIDTH).collect::<String>(), " ".repeat(indent))
            }
            false => format!("{name:<indent$}{cells}"),
        }
    };
    let mut lines = wrapped(&title(comparison));
    lines.push(format!("{}{}", " ".repeat(indent), groups(comparison, &widths)).trim_end().into());
    lines.push(line(&keys, &COLUMNS.each_ref().map(|column| name(comparison, column).to_string())));
    lines.extend(labels.iter().zip(&cells.rows).map(|(label, row)| line(label, row)));
    lines.extend(notes(comparison, cells.starred.then_some("*")).iter().flat_map(|note| wrapped(note)));
    lines.join("\n")
}

fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

/// Returns the line over the columns' names.
fn groups(comparison: &Comparison, widths: &[usize]) -> String {
    let group = |group: Group| {
        let width =
            COLUMNS.iter().zip(widths).filter(|(column, _)| column.group == group).map(|(_, w)| w).sum();
        right(&head(comparison, group), width)
    };
    [Group::Samples, Group::Passes, Group::Seconds].map(group).concat()
}

/// Wraps a text at 120 columns.
fn wrapped(text: &str) -> Vec<String> {
    text.split(' ').fold(Vec::new(), |mut lines: Vec<String>, word| {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
        lines
    })
}

/// Returns the notes below the table.
fn notes(comparison: &Comparison, mark: Option<&str>) -> Vec<String> {
    let (beside, about) = (comparison.beside.of_what(), comparison.beside.about());
    let mut notes = vec![format!("{beside}: {about}")];
    if let Some(mark) = mark {
        notes.push(format!("{mark} better than the next by more than the sum of both standard deviations"));
    }
    match (&comparison.equal.passes_of, comparison.equal.skipped) {
        (_, true) => notes.push("equal passes were not run: --equal samples".into()),
        (Some(of), _) => notes.push(format!(
            "a pass is one sample in the student's forward and backward pass; {of} makes the most, and the \
             others ran again as longer jobs, which make as many at the rate of their last epoch"
        )),
        (None, _) => {}
    }
    if comparison.equal.seconds.is_some() {
        notes.push("seconds exclude evaluation; equal seconds are those of the fastest run. Precision is that of pseudo-labels".into());
    }
    let missing = comparison.runs.iter().filter(|run| run.outcome.is_none()).count();
    if missing > 0 {
        notes.push(format!("{missing} of {} runs are missing", comparison.runs.len()));
    }
    notes
}

/// Returns the table as Markdown, with the clear best in bold.
pub fn markdown(comparison: &Comparison) -> String {
    let cells = Cells::new(comparison, " ± ", |text| format!("**{text}**"));
    let escaped = |text: &str| text.replace('|', "\\|");
    let names = COLUMNS.each_ref().map(|column| match head(comparison, column.group) {
        head if head.is_empty() => name(comparison, column).to_string(),
        head => format!("{} {head}", name(comparison, column)),
    });
    let row = |label: &str, cells: &[String]| format!("| {} | {} |", escaped(label), cells.join(" | "));
    let mut lines = vec![title(comparison), String::new(), row(&comparison.keys.join(" / "), &names)];
    lines.push(format!("|---|{}", "---:|".repeat(COLUMNS.len())));
    lines.extend(comparison.rows.iter().zip(&cells.rows).map(|(of, cells)| row(&of.variant, cells)));
    let notes = notes(comparison, cells.starred.then_some("Bold:"));
    lines.extend(notes.into_iter().flat_map(|note| [String::new(), note]));
    lines.join("\n")
}
