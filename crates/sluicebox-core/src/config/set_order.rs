//! The order in which overrides of a job are applied.

/// Returns overrides (`key=value`) in the order in which they are applied: those that set a `kind` first, the outermost before
/// others, and all else as it was given. A new kind clears the keys of the old one, and would clear what an earlier
/// override set for it.
///
/// ```
/// use sluicebox_core::config::set_order::kinds_first;
///
/// let given = ["method.threshold=0.5", "method.kind=comatch"].map(String::from);
/// assert_eq!(kinds_first(&given), ["method.kind=comatch", "method.threshold=0.5"]);
/// ```
pub fn kinds_first(sets: &[String]) -> Vec<String> {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| clears(set).unwrap_or(usize::MAX));
    sets
}

/// Returns how deep the table lies of which an override sets the kind; none if it sets none.
fn clears(set: &str) -> Option<usize> {
    let (key, value) = set.split_once('=')?;
    let depth = key.trim().split('.').count();
    if key.trim().ends_with(".kind") {
        return Some(depth - 1);
    }
    let table: toml::Table = format!("it = {}", value.trim()).parse().ok()?;
    table.get("it")?.get("kind").map(|_| depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sets_a_kind_comes_before_what_it_would_clear() {
        let sorted = |sets: &[&str]| kinds_first(&sets.iter().map(|set| set.to_string()).collect::<Vec<_>>());
        let given =
            ["seed=1", "source.drift.noise=1", "source.drift.kind=a", "a=2", "source={ kind = \"csv\" }"];
        let ordered =
            ["source={ kind = \"csv\" }", "source.drift.kind=a", "seed=1", "source.drift.noise=1", "a=2"];
        assert_eq!(sorted(&given), ordered);
        assert_eq!(
            sorted(&["m.kind=a", "m.kind=b", "x"]),
            ["m.kind=a", "m.kind=b", "x"],
            "the last one counts"
        );
        assert_eq!(sorted(&["b={ c = 1 }", "a.b=[", "m.kind=b"]), ["m.kind=b", "b={ c = 1 }", "a.b=["]);
    }
}
