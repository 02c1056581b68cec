//! The variants: every combination of the varied values, as complete jobs.

use crate::job::Job;
use sluicebox_core::config::set_order::kinds_first;
use sluicebox_core::error::{Error, Fault, Result};
use std::path::Path;

/// Most combinations and most seeds; more are taken for a mistake.
const MOST_RUNS: usize = 10_000;

/// A key and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vary {
    /// Dotted path, such as `method.kind`.
    pub key: String,
    /// Values as written; strings without quotes where none are needed.
    pub values: Vec<String>,
}

impl Vary {
    /// Parses `KEY=A,B,…`. Commas in quotes, lists and tables do not separate values.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((key, values)) = text.split_once('=') else {
            return Err("needs KEY=A,B,…, such as method.kind=supervised,fixmatch".into());
        };
        let values: Vec<String> = split(values).into_iter().map(plain).collect();
        match (key.trim(), values.iter().any(String::is_empty)) {
            ("", _) => Err("has no key".into()),
            (_, true) => Err("has an empty value; an empty string is \"''\"".into()),
            ("seed", _) => Err("seeds are given by --seeds".into()),
            (key, false) => Ok(Self { key: key.into(), values }),
        }
    }
}

/// Returns a value for display: a string loses its quotes where it is still read as a string.
fn plain(value: &str) -> String {
    match value.parse() {
        Ok(toml::Value::String(text)) if !text.is_empty() && text.parse::<toml::Value>().is_err() => text,
        _ => value.to_string(),
    }
}

/// Splits at commas outside quotes, lists and tables.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    let (mut quote, mut escaped) = (None, false);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), close) if open == close && !escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        escaped = false;
    }
    parts.push(text[from..].trim());
    parts
}

/// Parses `3` (a number of seeds, from 0) or `7,11,13` (a list; a single seed is `7,`).
pub fn seeds(text: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("`{text}` is neither a number of seeds nor a list such as 7,11,13");
    if !text.contains(',') {
        return match text.trim().parse().map_err(|_| wrong())? {
            0 => Err("a comparison needs at least 1 seed, better 3".into()),
            count if count > MOST_RUNS as u64 => Err(format!("{count} seeds are more than {MOST_RUNS}")),
            count => Ok((0..count).collect()),
        };
    }
    let list = text.trim_end_matches(',').split(',');
    let list: Vec<u64> =
        list.map(|seed| seed.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
    match list.iter().enumerate().find(|(at, seed)| list[..*at].contains(seed)) {
        Some((_, twice)) => Err(format!("seed {twice} occurs twice")),
        None => Ok(list),
    }
}

/// One combination of values.
#[derive(Debug, Clone)]
pub struct Variant {
    /// One value per varied key.
    pub values: Vec<String>,
    /// The complete job.
    pub job: Job,
}

impl Variant {
    /// Returns the variant's name.
    pub fn label(&self) -> String {
        self.values.join(" / ")
    }
}

/// Returns the job itself, and every combination of `varied` applied to it. Adds all faults to
/// `faults`.
pub fn resolve(
    file: &Path,
    sets: &[String],
    varied: &[Vary],
    faults: &mut Vec<Fault>,
) -> Result<Option<(Job, Vec<Variant>)>> {
    let base = load(file, sets, 0, faults)?;
    let count = varied.iter().try_fold(1usize, |count, vary| count.checked_mul(vary.values.len()));
    if count.is_none_or(|count| count > MOST_RUNS) {
        return Err(Error::request(format!("--vary: there are more than {MOST_RUNS} combinations")));
    }
    let mut variants: Vec<Variant> = Vec::new();
    for values in combinations(varied) {
        let laid = varied.iter().zip(&values).map(|(vary, value)| format!("{}={value}", vary.key));
        let laid: Vec<String> = laid.collect();
        let known = known(file, sets, &laid, varied);
        let all: Vec<String> = known.into_iter().chain(laid).collect();
        let Some(job) = load(file, &all, varied.len(), faults)? else { continue };
        let variant = Variant { values, job };
        if let Some(same) = variants.iter().find(|other| other.job == variant.job) {
            let reason = format!("`{}` and `{}` are the same job", same.label(), variant.label());
            note(faults, Fault { place: "--vary".into(), key: String::new(), reason });
        }
        if variant.job.stop.epochs == 0 && variant.job.stop.samples == 0 {
            let reason = "a comparison needs jobs with an end: --set stop.epochs=8, or stop.samples";
            let place = file.display().to_string();
            note(faults, Fault { place, key: "stop".into(), reason: reason.into() });
        }
        variants.push(variant);
    }
    Ok(base.map(|base| (base, variants)))
}

/// Returns the overrides without those of a varied component that it does not know with these values, such as a threshold
/// for `supervised`, and says which. The job itself knows them.
fn known(file: &Path, sets: &[String], laid: &[String], varied: &[Vary]) -> Vec<String> {
    let all: Vec<String> = sets.iter().chain(laid).cloned().collect();
    let Err(Error::Job(found)) = Job::load(file, &kinds_first(&all)) else { return sets.to_vec() };
    let kinds = varied.iter().filter_map(|vary| vary.key.strip_suffix("kind"));
    let is_inside = |set: &String| kinds.clone().any(|component| set.starts_with(component));
    let is_unknown = |set: &String| {
        let place = format!("--set {set}");
        found.iter().any(|fault| fault.place == place && fault.reason.starts_with("unknown key"))
    };
    let (left_out, known): (Vec<String>, Vec<String>) =
        sets.iter().cloned().partition(|set| is_inside(set) && is_unknown(set));
    for set in left_out {
        tracing::warn!("{} has no such key: `--set {set}` is left out there", laid.join(", "));
    }
    known
}

/// Loads a job; the last `varied` of the `sets` come from `--vary`.
fn load(file: &Path, sets: &[String], varied: usize, faults: &mut Vec<Fault>) -> Result<Option<Job>> {
    match Job::load(file, &kinds_first(sets)) {
        Ok(job) => Ok(Some(job)),
        Err(Error::Job(found)) => {
            let laid = &sets[sets.len() - varied..];
            for mut fault in found {
                if let Some(set) = laid.iter().find(|set| fault.place == format!("--set {set}")) {
                    fault.place = format!("--vary {set}");
                }
                note(faults, fault);
            }
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// Adds a fault, unless it is known already.
pub fn note(faults: &mut Vec<Fault>, fault: Fault) {
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

/// Returns all combinations; the last key's values change fastest.
fn combinations(varied: &[Vary]) -> Vec<Vec<String>> {
    varied.iter().fold(vec![Vec::new()], |combinations, vary| {
        let with = |before: &Vec<String>, value: &String| [&before[..], std::slice::from_ref(value)].concat();
        combinations
            .iter()
            .flat_map(|before| vary.values.iter().map(move |value| with(before, value)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_where_no_value_is_open() {
        let values = |text: &str| Vary::parse(text).unwrap().values;
        assert_eq!(values("method.kind=supervised, fixmatch"), ["supervised", "fixmatch"]);
        assert_eq!(values("views.weak=[],[{ kind = \"noise\", deviation = 0.1 }]").len(), 2);
        assert_eq!(values(r#"source.path="a,b\",c",'d,e'"#), ["a,b\",c", "d,e"]);
        assert_eq!(values("x=1=2"), ["1=2"]);
        for (text, says) in [("a", "KEY=A"), ("=1", "no key"), ("a=1,,2", "empty"), ("seed=1,2", "--seeds")] {
            assert!(Vary::parse(text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn an_override_counts_for_every_variant_that_knows_it() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/digits.toml");
        let resolved = |kinds: &str| {
            let (varied, mut faults) = ([Vary::parse(kinds).unwrap()], Vec::new());
            let found = resolve(&file, &["method.threshold=0.5".into()], &varied, &mut faults).unwrap();
            (found.map(|(_, variants)| variants).unwrap_or_default(), faults)
        };
        let (variants, faults) = resolved("method.kind=fixmatch,comatch");
        assert!(faults.is_empty(), "{faults:?}");
        let thresholds = variants.iter().map(|variant| variant.job.method.options["threshold"].as_float());
        assert_eq!(thresholds.collect::<Vec<_>>(), [Some(0.5), Some(0.5)]);
        let (variants, faults) = resolved("method.kind=supervised,fixmatch");
        assert!(faults.is_empty(), "left out where it is no key: {faults:?}");
        assert!(!variants[0].job.method.options.contains_key("threshold"));
    }

    #[test]
    fn seeds_are_a_number_or_a_list() {
        assert_eq!(seeds("3").unwrap(), [0, 1, 2]);
        assert_eq!(seeds("7,11, 13").unwrap(), [7, 11, 13]);
        assert_eq!(seeds("7,").unwrap(), [7]);
        for (text, says) in [
            ("0", "at least 1 seed"),
            ("1,1", "twice"),
            ("x", "neither"),
            ("-1", "neither"),
            ("1,,2", "neither"),
        ] {
            assert!(seeds(text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn every_combination_occurs_once() {
        let vary = |text: &str| Vary::parse(text).unwrap();
        let all = combinations(&[vary("a=1,2"), vary("b=x,y,z")]);
        assert_eq!(all.len(), 6);
        assert_eq!(
            (&all[0][..], &all[5][..]),
            (&["1".to_string(), "x".into()][..], &["2".to_string(), "z".into()][..])
        );
    }
}
