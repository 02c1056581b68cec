//! Lists of files in one name, as shells and WebDataset write them: `{000..099}` counts, `{a,b}` names alternatives.
//!
//! ```
//! use sluicebox_stream::shard_list::names;
//!
//! assert_eq!(names("{train,test}-{8..10}.tar")?.len(), 6);
//! assert_eq!(names("shard-{08..10}.tar")?, ["shard-08.tar", "shard-09.tar", "shard-10.tar"]);
//! assert_eq!(names("plain.tar")?, ["plain.tar"]);
//! # Ok::<(), String>(())
//! ```

/// Most names in a list.
const MOST_NAMES: usize = 100_000;
/// Most braces within one another.
const DEEPEST: usize = 16;
/// Maximum length of a pattern and of a name, in bytes.
const LONGEST: usize = 1 << 12;

/// Returns whether a name is a list of names.
pub fn is_list(name: &str) -> bool {
    names(name).map_or(true, |names| names.len() != 1 || names[0] != name)
}

/// Returns the names that a pattern lists, in the order of the shell: the last braces change fastest. Braces that
/// hold neither `..` nor `,` stay as they are, as does a brace behind a backslash (without the backslash).
pub fn names(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.len() > LONGEST {
        return Err(format!("a list of files of more than {LONGEST} characters"));
    }
    let mut rest = pattern;
    let names = sequence(&mut rest, false, 0)?;
    match names.into_iter().next() {
        Some(names) if rest.is_empty() => Ok(names),
        _ => Err(format!("the braces in `{pattern}` do not match")),
    }
}

/// Reads what is between two braces, or the whole of a pattern: alternatives, each of which lists names.
fn sequence(rest: &mut &str, in_braces: bool, depth: usize) -> Result<Vec<Vec<String>>, String> {
    let mut alternatives = Vec::new();
    let mut names = vec![String::new()];
    while let Some(next) = rest.chars().next() {
        match next {
            '}' if in_braces => break,
            ',' if in_braces => {
                *rest = &rest[1..];
                alternatives.push(std::mem::replace(&mut names, vec![String::new()]));
            }
            '{' => names = joined(&names, &braces(rest, depth)?)?,
            _ => {
                let escaped = next == '\\' && rest[1..].starts_with(['{', '}', ',', '\\']);
                let text = if escaped { &rest[1..2] } else { &rest[..next.len_utf8()] };
                names.iter_mut().for_each(|name| name.push_str(text));
                *rest = &rest[usize::from(escaped) + text.len()..];
            }
        }
    }
    alternatives.push(names);
    Ok(alternatives)
}

/// Reads braces and what is in them.
fn braces(rest: &mut &str, depth: usize) -> Result<Vec<String>, String> {
    if depth == DEEPEST {
        return Err(format!("braces lie more than {DEEPEST} deep in one another"));
    }
    let whole = *rest;
    if let Some((inner, after)) = whole[1..].split_once('}')
        && !inner.contains(['{', ',', '\\'])
        && let Some(numbers) = numbers(inner)?
    {
        *rest = after;
        return Ok(numbers);
    }
    *rest = &whole[1..];
    let alternatives = sequence(rest, true, depth + 1)?;
    let Some(after) = rest.strip_prefix('}') else {
        return Err(format!("a brace in `{whole}` is not closed"));
    };
    *rest = after;
    match &alternatives[..] {
        // Not a list: the braces belong to the name.
        [only] => Ok(only.iter().map(|name| format!("{{{name}}}")).collect()),
        _ => {
            let count = alternatives.iter().map(Vec::len).sum();
            bounded(count)?;
            Ok(alternatives.into_iter().flatten().collect())
        }
    }
}

/// Returns the numbers from one to another, or None if `inner` says nothing of the kind: `1..9`, `000..099`, `9..1`,
/// `0..100..10`. A number that begins with a zero gives all the same width.
fn numbers(inner: &str) -> Result<Option<Vec<String>>, String> {
    let parts: Vec<&str> = inner.split("..").collect();
    let (first, last, step) = match parts[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Ok(None),
    };
    let is_number = |text: &&str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if ![first, last, step].iter().all(is_number) {
        return Err(format!("`{{{inner}}}` counts from something that is no whole number"));
    }
    let parse = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("`{{{inner}}}`: {text} is not a number of 64 bits"))
    };
    let (from, to, step) = (parse(first)?, parse(last)?, parse(step)?.unsigned_abs().max(1));
    let count = from.abs_diff(to) / step;
    bounded(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1))?;
    let padded = [first, last].iter().any(|text| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.len() > 1 && digits.starts_with('0')
    });
    let width = if padded { first.len().max(last.len()) } else { 0 };
    let number = |at: u64| match from <= to {
        true => from.wrapping_add((at * step) as i64),
        false => from.wrapping_sub((at * step) as i64),
    };
    Ok(Some((0..=count).map(|at| format!("{:0width$}", number(at))).collect()))
}

/// Returns every name with every ending.
fn joined(names: &[String], endings: &[String]) -> Result<Vec<String>, String> {
    bounded(names.len().saturating_mul(endings.len()))?;
    let longest = |all: &[String]| all.iter().map(String::len).max().unwrap_or(0);
    if longest(names) + longest(endings) > LONGEST {
        return Err(format!("a list of files gives a name of more than {LONGEST} characters"));
    }
    Ok(names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}{ending}"))).collect())
}

fn bounded(count: usize) -> Result<(), String> {
    match count <= MOST_NAMES {
        true => Ok(()),
        false => Err(format!("a list of more than {MOST_NAMES} files; name a part of them at a time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pattern: &str) -> String {
        names(pattern).unwrap_or_else(|reason| panic!("{pattern}: {reason}")).join(" ")
    }

    #[test]
    fn names_are_those_of_bash() {
        let patterns = [
            "a",
            "a{1..3}b",
            "{01..3}",
            "{3..1}",
            "{0..10..5}",
            "{10..0..5}",
            "{-1..1}",
            "{-01..1}",
            "{a,b}{1,2}",
            "{a,b{1..2},}x",
            "a{b}c",
            "s-{000..002}.tar",
            "x{,y}",
            "{a,{b,{c,d}}}",
            r"a\{1..2\}",
            "é{1..2}",
        ];
        let run = |pattern: &str| {
            let text = format!("echo {pattern}");
            let bash = std::process::Command::new("bash").args(["-c", &text]).output().unwrap();
            String::from_utf8(bash.stdout).unwrap().trim_end().to_string()
        };
        for pattern in patterns {
            assert_eq!(list(pattern), run(pattern), "{pattern}");
        }
    }

    #[test]
    fn lists_are_bounded_and_their_faults_are_told() {
        assert_eq!(names("{00001..100000}").unwrap().len(), 100_000);
        for (pattern, says) in [
            ("{0..100000}", "more than 100000 files"),
            ("{0..9}".repeat(6).as_str(), "more than 100000 files"),
            ("{-9223372036854775808..9223372036854775807}", "more than 100000 files"),
            ("{-9223372036854775808..9223372036854775807..1}{0..9}", "more than 100000 files"),
            ("{1..99999999999999999999}", "not a number of 64 bits"),
            ("{a..c}", "counts from something that is no whole number"),
            ("{1..", "is not closed"),
            ("a{1,2", "is not closed"),
            ("{{1..2}", "is not closed"),
            ("x".repeat(5000).as_str(), "more than 4096 characters"),
            ("{".repeat(40).as_str(), "more than 16 deep"),
        ] {
            let reason = names(pattern).unwrap_err();
            assert!(reason.contains(says), "{pattern}: {reason}");
        }
        let far = "{-9223372036854775808..9223372036854775807..9223372036854775807}";
        assert_eq!(list(far), "-9223372036854775808 -1 9223372036854775806");
        let long = format!("{}{{1..2}}", "x".repeat(4090));
        assert!(names(&long).is_ok());
        assert_eq!(list("a}b"), "a}b", "a brace that closes nothing is a part of the name");
        assert!(is_list("{1..2}") && is_list("{1..") && !is_list("a{b}c.png") && !is_list("plain"));
    }
}
