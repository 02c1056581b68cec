//! Numbers in a table.

/// Returns the finite number that a field holds.
pub fn number(field: &[u8], decimal: char) -> Option<f64> {
    let text = std::str::from_utf8(field).ok()?.trim();
    let value: f64 = match decimal {
        ',' if text.contains('.') => return None,
        ',' => text.replace(',', ".").parse().ok()?,
        _ => text.parse().ok()?,
    };
    value.is_finite().then_some(value)
}
