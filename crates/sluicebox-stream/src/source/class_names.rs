//! Names of classes that were found in the data: their order, and how the log shows them.

/// Most names that are shown.
const MOST_SHOWN: usize = 20;

/// Puts names in numerical order if all are numbers, else in text order.
pub fn sort(names: &mut [String]) {
    names.sort();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(a.cmp(b)));
    }
}

/// Returns the number that a name is, if it is one.
pub fn number(name: &str) -> Option<f64> {
    name.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns the names as the log shows them: at most 20, and how many more there are.
pub fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_SHOWN);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_order_and_texts_in_theirs() {
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            sort(&mut names);
            names
        };
        assert_eq!(sorted(&["10", "9", "-1.5"]), ["-1.5", "9", "10"]);
        assert_eq!(sorted(&["10", "9", "b"]), ["10", "9", "b"]);
        let many: Vec<String> = (0..22).map(|name| name.to_string()).collect();
        assert!(shown(&many).ends_with("18, 19 and 2 more") && shown(&many[..2]) == "0, 1");
    }
}
