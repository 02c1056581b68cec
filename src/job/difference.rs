//! The first difference between two jobs, as messages name it. Numbers are compared as the user says them.

use crate::job::Job;
use toml::{Table, Value};

/// A key in which two jobs differ, and its value in each.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Dotted path of the key.
    pub key: String,
    /// Its value in the job that is to run.
    pub now: String,
    /// Its value in the other job.
    pub then: String,
}

/// Returns the keys that may differ in the tables at a path.
pub type Free = fn(path: &str, now: &Table, then: &Table) -> Vec<&'static str>;

/// Returns the first difference between two jobs in the parts at `paths`, or in all of them if there are none.
pub fn first(now: &Job, then: &Job, paths: &[&str], free: Free) -> Option<Difference> {
    let table = |job: &Job| Value::try_from(job).unwrap_or(Value::Boolean(false));
    let (now, then) = (table(now), table(then));
    if paths.is_empty() {
        return between("", Some(&now), Some(&then), free);
    }
    paths.iter().find_map(|path| {
        let part = |job: &Value| path.split('.').try_fold(job.clone(), |value, key| value.get(key).cloned());
        between(path, part(&now).as_ref(), part(&then).as_ref(), free)
    })
}

fn between(path: &str, now: Option<&Value>, then: Option<&Value>, free: Free) -> Option<Difference> {
    match (now, then) {
        (Some(Value::Table(now)), Some(Value::Table(then))) => {
            let free_keys = free(path, now, then);
            let keys = now.keys().chain(then.keys().filter(|key| !now.contains_key(*key)));
            let mut keys = keys.filter(|key| !free_keys.contains(&key.as_str()));
            let below = |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
            keys.find_map(|key| between(&below(key), now.get(key), then.get(key), free))
        }
        (Some(Value::Array(now)), Some(Value::Array(then))) if now.len() == then.len() => {
            let mut pairs = now.iter().zip(then).enumerate();
            pairs.find_map(|(at, (now, then))| between(&format!("{path}[{at}]"), Some(now), Some(then), free))
        }
        (Some(Value::Float(now)), Some(Value::Float(then))) if same_number(*now, *then) => None,
        _ if now == then => None,
        _ => {
            let show = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
            Some(Difference { key: path.into(), now: show(now), then: show(then) })
        }
    }
}

/// Returns whether two numbers are the same setting. Earlier versions wrote some settings with the digits of their
/// conversion to 32 bits: 0.0038999998942017555 for 0.0039.
fn same_number(now: f64, then: f64) -> bool {
    let converted = |number: f64| f64::from(number as f32);
    now == then || now == converted(then) || converted(now) == then
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_in_the_digits_of_its_conversion() {
        for number in [0.0039, 0.1, 1e-7, 1.0 / 3.0, -2.7, 0.5, 1e300] {
            assert!(same_number(number, number));
            let converted = f64::from(number as f32);
            assert!(same_number(number, converted) && same_number(converted, number), "{number}");
        }
        // Where 32 bits hold a number exactly, its digits tell nothing of a conversion.
        for number in [0.0039, 0.1, 1e-7, 1.0 / 3.0, -2.7] {
            assert!(!same_number(number, number * (1.0 + 1e-9)), "{number}");
        }
        assert!(same_number(0.0039, 0.0038999998942017555));
    }
}
