//! Messages of serde and of the operating system in words that need no knowledge of Rust.

/// What serde calls the types that a key can have, and what people do.
const TYPES: [(&str, &str); 14] = [
    ("usize", "a whole number from 0"),
    ("u64", "a whole number from 0"),
    ("u32", "a whole number from 0"),
    ("u16", "a whole number from 0 to 65535"),
    ("u8", "a whole number from 0 to 255"),
    ("isize", "a whole number"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("floating point number", "a number"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "a table"),
];

/// Returns a message of serde with its types in words: "expected usize" becomes "expected a whole number from 0".
///
/// ```
/// use sluicebox_core::config::plain_words::in_words;
///
/// let told = in_words("invalid value: integer `-4`, expected usize");
/// assert_eq!(told, "invalid value: integer `-4`, expected a whole number from 0");
/// assert_eq!(in_words("expected `usize`"), "expected `usize`");
/// ```
pub fn in_words(message: &str) -> String {
    let Some((start, expected)) = message.rsplit_once("expected ") else { return message.into() };
    match TYPES.iter().find(|(name, _)| *name == expected) {
        Some((_, words)) => format!("{start}expected {words}"),
        None => message.into(),
    }
}

/// Returns a message without the numbers that the operating system gives its errors.
///
/// ```
/// use sluicebox_core::config::plain_words::without_codes;
///
/// assert_eq!(without_codes("a.toml: No such file or directory (os error 2)"), "a.toml: No such file or directory");
/// assert_eq!(without_codes("an (os error of ours)"), "an (os error of ours)");
/// ```
pub fn without_codes(message: &str) -> String {
    let mut parts = message.split(" (os error ");
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        match part[digits..].strip_prefix(')').filter(|_| digits > 0) {
            Some(rest) => text += rest,
            None => text += &format!(" (os error {part}"),
        }
    }
    text
}
