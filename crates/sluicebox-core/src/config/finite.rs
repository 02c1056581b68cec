//! Numbers of a job file must be finite: a saved job holds them as JSON, which has neither `nan` nor `inf`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A number that is not finite: its first byte in the text, its dotted path and the reason.
pub type NotFinite = (usize, String, String);

/// Drops the keys of a table, and of all tables in it, whose value is or holds a number that is not finite, and adds
/// each of them to `faults`.
pub fn only_finite(table: &mut DeTable<'_>, path: &str, faults: &mut Vec<NotFinite>) {
    let below = |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
    let others = table.iter_mut().filter_map(|(key, value)| {
        let finite = is_finite(value, &below(key.get_ref()), faults);
        (!finite).then(|| key.get_ref().to_string())
    });
    let others: Vec<String> = others.collect();
    others.iter().for_each(|key| _ = table.remove(key.as_str()));
}

/// Returns whether a value that is no table holds finite numbers only; within tables, the keys of others are dropped.
fn is_finite(value: &mut Spanned<DeValue<'_>>, path: &str, faults: &mut Vec<NotFinite>) -> bool {
    let at = value.span().start;
    match value.get_mut() {
        DeValue::Table(table) => {
            only_finite(table, path, faults);
            true
        }
        DeValue::Array(items) => {
            let items = items.iter_mut().enumerate();
            items.fold(true, |all, (index, item)| is_finite(item, &format!("{path}[{index}]"), faults) && all)
        }
        DeValue::Float(number) => {
            let text = number.as_str();
            let finite = text.replace('_', "").parse::<f64>().is_ok_and(f64::is_finite);
            if !finite {
                faults.push((at, path.into(), format!("{text} is not a finite number")));
            }
            finite
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_named_and_dropped() {
        let text = "a = nan\nb = 1_000.5\n[c]\nd = -inf\ne = [1.0, inf]\n[[f]]\ng = 1e999\nh = 1e-7\n";
        let mut table = DeTable::parse(text).unwrap().into_inner();
        let mut faults = Vec::new();
        only_finite(&mut table, "", &mut faults);
        let mut paths: Vec<&str> = faults.iter().map(|(_, path, _)| path.as_str()).collect();
        paths.sort();
        assert_eq!(paths, ["a", "c.d", "c.e[1]", "f[0].g"]);
        assert!(faults.iter().all(|(at, _, reason)| text[*at..].contains(reason.split(' ').next().unwrap())));
        let mut left = Vec::new();
        only_finite(&mut table, "", &mut left);
        assert!(left.is_empty() && table.contains_key("b") && !table.contains_key("a"));
    }
}
