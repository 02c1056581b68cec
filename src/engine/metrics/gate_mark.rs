//! What the mark of a gate that has closed says.

/// Most classes that it names.
const NAMED: usize = 5;

/// Returns the text for the classes in `closed` that were not closed `before`, if there are any.
pub fn gate_closed(closed: &[usize], before: &[usize], classes: &[String]) -> Option<String> {
    let new: Vec<usize> = closed.iter().filter(|class| !before.contains(class)).copied().collect();
    let name = |class: &usize| classes.get(*class).map_or_else(|| class.to_string(), Clone::clone);
    let names: Vec<String> = new.iter().take(NAMED).map(name).collect();
    let more = match new.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (class, of) = if new.len() == 1 { ("class", "it") } else { ("classes", "them") };
    let text = || {
        format!("the gate closed for {class} {}{more}: no pseudo-label of {of} is accepted", names.join(", "))
    };
    (!new.is_empty()).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_that_have_closed_since_are_told() {
        let classes: Vec<String> = (0..9).map(|class| format!("c{class}")).collect();
        assert_eq!(gate_closed(&[1, 2], &[2, 1, 3], &classes), None);
        let one = gate_closed(&[1, 2], &[1], &classes).unwrap();
        assert!(one.starts_with("the gate closed for class c2: "), "{one}");
        let many = gate_closed(&[0, 1, 2, 3, 4, 5, 6], &[], &classes).unwrap();
        assert!(many.starts_with("the gate closed for classes c0, c1, c2, c3, c4 and 2 more: "), "{many}");
    }
}
