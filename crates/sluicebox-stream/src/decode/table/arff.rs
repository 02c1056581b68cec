//! Weka's ARFF: a header that names columns, their types and their categories, and rows as in CSV. A header has at most
//! as many attributes as a row may have columns, and 100,000 categories. Sparse rows are not read.

use crate::decode::api::DecodeError;
use crate::decode::lines::Lines;
use std::io::BufRead;

/// Most categories of all attributes.
const MOST_CATEGORIES: usize = 100_000;

/// An attribute, which is a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// One of these categories.
    Categories(Vec<String>),
    /// Any text, or a date.
    Text,
}

/// Returns whether a line begins a file of this format.
pub fn begins(line: &[u8]) -> bool {
    keyword(line, b"@relation").is_some()
}

/// Reads a header behind its first line, up to its last.
pub fn header<R: BufRead>(lines: &mut Lines<R>, most: usize) -> Result<Vec<Attribute>, DecodeError> {
    let (mut attributes, mut categories) = (Vec::new(), 0);
    loop {
        if !lines.advance()? {
            return Err(DecodeError::Broken("an ARFF file without @data".into()));
        }
        let (line, number) = (lines.line(), lines.number);
        let fault = |reason: String| DecodeError::Broken(format!("ARFF header, line {number}: {reason}"));
        if line.starts_with(b"%") {
            continue;
        }
        if keyword(line, b"@data").is_some() {
            return Ok(attributes);
        }
        let Some(rest) = keyword(line, b"@attribute") else {
            return Err(fault("neither @attribute nor @data".into()));
        };
        let attribute = attribute(rest).map_err(fault)?;
        if let Kind::Categories(of_one) = &attribute.kind {
            categories += of_one.len();
        }
        attributes.push(attribute);
        if attributes.len() > most || categories > MOST_CATEGORIES {
            return Err(fault(format!("more than {most} attributes, or {MOST_CATEGORIES} categories")));
        }
    }
}

/// Returns what follows a keyword, which may be written in any case.
fn keyword<'l>(line: &'l [u8], word: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(word.len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (start.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_ascii())
}

fn attribute(rest: &[u8]) -> Result<Attribute, String> {
    let mut at = 0;
    let name = match rest.first() {
        Some(b'\'' | b'"') => quoted(rest, &mut at)?,
        _ => {
            at = rest
                .iter()
                .position(|byte| byte.is_ascii_whitespace() || *byte == b'{')
                .unwrap_or(rest.len());
            rest[..at].to_vec()
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_string());
    let kind = rest[at..].trim_ascii();
    let kind = match kind.strip_prefix(b"{").map(|list| list.strip_suffix(b"}")) {
        Some(Some(list)) => {
            Kind::Categories(fields(list)?.into_iter().map(text).collect::<Result<_, String>>()?)
        }
        Some(None) => return Err("the list of categories does not end with }".into()),
        None => match kind
            .split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_slice()
        {
            b"numeric" | b"real" | b"integer" => Kind::Number,
            b"string" | b"date" => Kind::Text,
            other => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(format!(
                    "the type `{other}` is none of numeric, real, integer, string, date and {{…}}"
                ));
            }
        },
    };
    Ok(Attribute { name: text(name)?, kind })
}

/// Splits a row or a list of categories at its commas. What is within quotes is one field, and a backslash there takes
/// the next character as it is.
pub fn fields(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        at += line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let end =
            |from: usize| line[from..].iter().position(|byte| *byte == b',').map_or(line.len(), |n| from + n);
        let field = match line.get(at) {
            Some(b'\'' | b'"') => {
                let field = quoted(line, &mut at)?;
                let next = end(at);
                if !line[at..next].trim_ascii().is_empty() {
                    return Err("text behind a closing quote".into());
                }
                at = next;
                field
            }
            _ => {
                let from = at;
                at = end(from);
                line[from..at].trim_ascii().to_vec()
            }
        };
        fields.push(field);
        if at == line.len() {
            return Ok(fields);
        }
        at += 1;
    }
}

/// Reads a quoted text that begins at `at`, and moves behind it.
fn quoted(line: &[u8], at: &mut usize) -> Result<Vec<u8>, String> {
    let quote = line[*at];
    let mut text = Vec::new();
    let mut bytes = line.iter().enumerate().skip(*at + 1);
    while let Some((place, byte)) = bytes.next() {
        match *byte {
            b'\\' => text.extend(bytes.next().map(|(_, byte)| *byte)),
            byte if byte == quote => {
                *at = place + 1;
                return Ok(text);
            }
            byte => text.push(byte),
        }
    }
    Err("a quote is not closed in this line".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &str) -> Result<Vec<Attribute>, String> {
        header(&mut Lines::new(Cursor::new(text)), 100).map_err(|fault| fault.to_string())
    }

    #[test]
    fn names_types_and_categories() {
        let found = read(
            "% a comment\n@ATTRIBUTE 'petal length' REAL\n@attribute b{x, 'y z' ,\"q,r\"}\n\n@attribute c\tinteger\n\
             @attribute d date \"yyyy-MM\"\n@attribute e string\n@DATA\n1,2",
        )
        .unwrap();
        let names: Vec<&str> = found.iter().map(|attribute| attribute.name.as_str()).collect();
        assert_eq!(names, ["petal length", "b", "c", "d", "e"]);
        assert_eq!(
            (&found[0].kind, &found[2].kind, &found[3].kind),
            (&Kind::Number, &Kind::Number, &Kind::Text)
        );
        assert_eq!(found[1].kind, Kind::Categories(["x", "y z", "q,r"].map(String::from).to_vec()));
        assert!(begins(b"@RELATION t") && begins(b"@relation") && !begins(b"@relations"));
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told() {
        for (text, says) in [
            ("@attribute a real\n", "without @data"),
            ("@attribute a complex\n@data", "line 1: the type `complex`"),
            ("\n@attribute a {x, y\n@data", "line 2: the list of categories does not end"),
            ("@attribute 'a real\n@data", "a quote is not closed"),
            ("1,2\n", "neither @attribute nor @data"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let many = "@attribute a real\n".repeat(101);
        assert!(read(&many).unwrap_err().contains("more than 100 attributes"));
    }

    #[test]
    fn rows_are_split() {
        let split = |line: &str| {
            let fields = fields(line.as_bytes())?;
            Ok::<_, String>(
                fields.into_iter().map(|field| String::from_utf8(field).unwrap()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(split("5.1, 'Iris setosa' ,?").unwrap(), ["5.1", "Iris setosa", "?"]);
        assert_eq!(split("'it\\'s',\"a,b\",").unwrap(), ["it's", "a,b", ""]);
        assert!(split("'a' b,c").unwrap_err().contains("behind a closing quote"));
        assert!(split("1,'a").unwrap_err().contains("not closed"));
    }
}
