//! How deep the schema in a Parquet footer is nested. The library follows it with its stack, which a false footer would
//! overflow; so it is looked at before, in Thrift's compact form, at constant depth.

/// Most columns within one another.
pub const DEEPEST: usize = 64;
/// Structs and lists within one another in a footer; real ones have six.
const MOST_WITHIN: usize = 24;

/// Returns how deep the schema is nested; None if that cannot be read.
pub fn depth(footer: &[u8]) -> Option<usize> {
    const SCHEMA: i64 = 2;
    let mut thrift = Thrift(footer);
    let (mut field, mut deepest) = (0, 0);
    while let Some(kind) = thrift.field(&mut field)? {
        match (field, kind) {
            (SCHEMA, LIST) => deepest = deepest.max(thrift.schema()?),
            _ => thrift.skip(kind, 0)?,
        }
    }
    Some(deepest)
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Returns how an item of a list or a map is stored: a boolean has a byte there, so that a false number of them ends with
/// the bytes.
fn item(kind: u8) -> u8 {
    if matches!(kind, TRUE | FALSE) { BYTE } else { kind }
}

/// Bytes that are yet to be read.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        self.varint().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Reads the head of the field after number `field` of a struct; the inner None is the struct's end.
    fn field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *field = match head >> 4 {
            0 => self.signed()?,
            more => field.checked_add(i64::from(more))?,
        };
        Some(Some(head & 0xf))
    }

    /// Reads the head of a list: the number of its items and their kind.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 0xf { self.varint()? } else { u64::from(head >> 4) };
        Some((count, head & 0xf))
    }

    fn skip(&mut self, kind: u8, within: usize) -> Option<()> {
        if within > MOST_WITHIN {
            return None;
        }
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.pass(1),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            LIST | SET => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip(item(kind), within + 1))
            }
            MAP => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip(item(kinds >> 4), within + 1)?;
                    self.skip(item(kinds & 0xf), within + 1)
                })
            }
            STRUCT => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, within + 1)?;
                }
                Some(())
            }
            _ => self.varint().map(drop),
        }
    }

    /// Reads the list of columns, each of which says how many of the next lie in it; returns how deep they lie.
    fn schema(&mut self) -> Option<usize> {
        const CHILDREN: i64 = 5;
        let (count, kind) = self.list()?;
        if kind != STRUCT {
            return None;
        }
        let (mut open, mut deepest) = (Vec::new(), 0);
        for _ in 0..count {
            let (mut field, mut children) = (0, 0u64);
            while let Some(kind) = self.field(&mut field)? {
                match (field, kind) {
                    (CHILDREN, 4..=6) => children = u64::try_from(self.signed()?).unwrap_or_default(),
                    _ => self.skip(kind, 0)?,
                }
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            deepest = deepest.max(open.len());
        }
        Some(deepest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::parquet::RowGroups;
    use bytes::Bytes;

    /// Returns a footer with so many groups within one another.
    fn nested(groups: usize) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut count = groups + 1;
        while count >= 0x80 {
            footer.push(count as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        let group = [0x35, 0, 0x18, 1, b'a', 0x15, 2, 0]; // required, called a, of one child
        (0..groups).for_each(|_| footer.extend(group));
        footer.extend([0x15, 2, 0x25, 0, 0x18, 1, b'a', 0]); // a required number
        footer.extend([0x16, 0, 0x19, 0x0c, 0]); // no row and no row group
        footer
    }

    #[test]
    fn a_schema_that_is_nested_too_deep_is_refused_before_it_is_followed() {
        assert_eq!([1, 5, 300].map(|groups| depth(&nested(groups))), [Some(1), Some(5), Some(300)]);
        assert_eq!(depth(&[0x19]), None);
        let more_than_there_are = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        for items in [&[0x11][..], &[0x12, 0, 0], &[0x21, 1, 1]] {
            assert_eq!(
                depth(&[&[0x1b], &more_than_there_are[..], items].concat()),
                None,
                "booleans in a map"
            );
        }
        for (groups, says) in [(1, None), (20, None), (65, Some("deep")), (1_000_000, Some("deep"))] {
            let footer = nested(groups);
            let length = (footer.len() as u32).to_le_bytes();
            let file = [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat();
            let reason = RowGroups::open(Bytes::from(file)).err();
            assert_eq!(says.is_none(), reason.is_none(), "{groups}: {reason:?}");
            assert!(says.is_none_or(|says| reason.is_some_and(|reason| reason.contains(says))), "{groups}");
        }
    }
}
