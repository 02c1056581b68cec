//! Names of classes, as people and their tools write them. 1 and 1.0 are one name; so are two that differ only in blanks
//! and unseen characters at their ends, or in whether an accent is part of its letter, which on macOS it is not in names
//! of files.

use crate::decode::blank::trimmed;
use crate::decode::missing::is_missing;
use icu_normalizer::ComposingNormalizerBorrowed;
use sluicebox_core::config::document::{shortened, unknown};
use sluicebox_core::sample::Format;
use std::borrow::Cow;

/// Returns the name of a class as it is shown: trimmed, with accents in their letters (NFC).
pub fn shown(name: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(trimmed(name))
}

/// Returns the text by which a class is known: its name as it is shown, a number without zeros that say nothing.
pub fn plain(name: &str) -> Cow<'_, str> {
    match shown(name) {
        Cow::Borrowed(name) => plain_number(name).into(),
        Cow::Owned(name) => plain_number(&name).to_string().into(),
    }
}

/// Returns the index of a class that is given by its name or its number. Where a name is itself a number, numbers
/// are names only: with classes named 1 to 10 there is no class 0.
pub fn class(classes: &[String], name: &str) -> Result<usize, String> {
    let numbers_are_names = || classes.iter().any(|class| trimmed(class).parse().is_ok_and(f64::is_finite));
    let numbered = || plain(name).parse().ok().filter(|number| *number < classes.len());
    let found = named(classes, name).or_else(|| if numbers_are_names() { None } else { numbered() });
    found.ok_or_else(|| {
        let known: Vec<&str> = classes.iter().map(String::as_str).collect();
        match known.len() {
            0..=20 => unknown("class", name, &known),
            count => format!(
                "unknown class `{}`: it is neither the name nor the number of one of the {count} classes",
                shortened(name)
            ),
        }
    })
}

/// Returns the index of a class that is given by its name.
pub fn named(classes: &[String], name: &str) -> Option<usize> {
    let same = |class: &String| class == name;
    classes.iter().position(same).or_else(|| {
        let name = plain(name);
        classes.iter().position(|class| plain(class) == name)
    })
}

/// Returns a decimal number without zeros that say nothing, such as 1 for 1.0, and any other text as it is.
fn plain_number(text: &str) -> &str {
    let Some((whole, fraction)) = text.split_once('.') else { return text };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_number =
        !digits.is_empty() && [digits, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    match is_number {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// Returns the class of a record if the format has it, or names no classes and it can be a name.
pub(super) fn known(format: &Format, name: String) -> Result<String, String> {
    if format.classes.is_empty() && trimmed(&name).chars().any(char::is_control) {
        return Err(format!("the class is {:?}: no name has control characters", shortened(&name)));
    }
    match format.classes.is_empty() {
        true => Ok(name),
        false => class(&format.classes, &name).map(|_| name),
    }
}

/// Returns the class of a record; none if it is one of the `markers` of a class that is not known, unless the format has
/// a class of that name.
pub(super) fn given(format: &Format, markers: &[String], name: String) -> Result<Option<String>, String> {
    let is_class = || !format.classes.is_empty() && class(&format.classes, &name).is_ok();
    match is_missing(markers, name.as_bytes()) && !is_class() {
        true => Ok(None),
        false => known(format, name).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::missing::missing_markers;
    use sluicebox_core::sample::{Dtype, Shape};

    fn of(names: &[&str], given: &str) -> Option<usize> {
        let classes: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        class(&classes, given).ok()
    }

    #[test]
    fn where_a_name_is_a_number_numbers_are_names_only() {
        let numbers = ["1", "2", "3"];
        assert_eq!(
            ["0", "1", "3", "3.0", "4"].map(|given| of(&numbers, given)),
            [None, Some(0), Some(2), Some(2), None]
        );
        assert_eq!(["0", "1.5"].map(|given| of(&["1.50", "ten"], given)), [None, Some(0)]);
        assert_eq!(of(&["inf", "ant"], "1"), Some(1), "a text");
        let names = ["ant", "bee"];
        assert_eq!(
            ["bee", "1", "1.0", "2", "1.5"].map(|given| of(&names, given)),
            [Some(1), Some(1), Some(1), None, None]
        );
    }

    #[test]
    fn what_nobody_sees_is_no_part_of_a_name() {
        let names = ["caf\u{e9}", "dog\u{a0}", "Dog"];
        let given = ["cafe\u{301}", "\u{feff}caf\u{e9}\u{200b}", "\u{2003}dog", "dog", "DOG"];
        assert_eq!(given.map(|given| of(&names, given)), [Some(0), Some(0), Some(1), Some(1), None]);
        assert_eq!(plain(" 1.0\u{a0}"), "1");
        assert_eq!(shown("a\u{a0}b\u{a0}"), "a\u{a0}b", "only at its ends");
    }

    #[test]
    fn a_marker_says_that_no_class_is_known_unless_a_class_has_its_name() {
        let format = |classes: &[&str]| {
            let classes = classes.iter().map(|name| name.to_string()).collect();
            Format { shape: Shape::Vector { features: 1 }, dtype: Dtype::F32, scale: 1.0, classes }
        };
        let read = |classes: &[&str], name: &str| given(&format(classes), &missing_markers(), name.into());
        for unknown in ["", " ", "\u{a0}", "?", "nan", "N/A", "<NA>", "null", "#N/A"] {
            assert_eq!(read(&["ant", "bee"], unknown), Ok(None), "{unknown}");
        }
        assert_eq!(read(&["US", "NA"], "NA"), Ok(Some("NA".into())));
        assert!(read(&["ant", "bee"], "none").is_err(), "it may be the name of a class");
    }

    #[test]
    fn numbers_without_zeros_that_say_nothing() {
        let plain = ["1.0", "1.50", "-2.000", "10", "1.0.0", "v1.0", ".50", "1.x0", ""].map(plain_number);
        assert_eq!(plain, ["1", "1.5", "-2", "10", "1.0.0", "v1.0", ".50", "1.x0", ""]);
    }
}
