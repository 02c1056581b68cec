//! What nobody sees at the ends of a text.

/// Returns a text without blanks and unseen characters at its ends: spaces of any width, marks of byte order and of
/// direction.
pub fn trimmed(text: &str) -> &str {
    let is_unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    text.trim_matches(|c: char| c.is_whitespace() || is_unseen(c))
}

/// Returns the same of bytes; of those that are no UTF-8 only ASCII blanks are left out.
pub fn trimmed_bytes(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let seen = [text.first(), text.last()].into_iter().flatten().all(u8::is_ascii);
    match std::str::from_utf8(text) {
        Ok(text) if !seen => trimmed(text).as_bytes(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_of_any_width_and_marks_are_left_out_at_the_ends() {
        for text in ["a b", " a b\r\n", "\u{a0}a b\u{2003}", "\u{feff}\u{200e}a b\u{200b}"] {
            assert_eq!((trimmed(text), trimmed_bytes(text.as_bytes())), ("a b", &b"a b"[..]), "{text:?}");
        }
        assert_eq!(trimmed_bytes(b" \xa0 "), b"\xa0", "no UTF-8");
        assert_eq!(trimmed_bytes("\u{a0}".as_bytes()), b"");
    }
}
