//! The hosts file: one process a line, as host:port, from process 0 on.

use sluicebox_core::error::{Error, Result};
use std::path::Path;

/// Most lines with a process.
const MOST: usize = 64;

/// The addresses of all processes, from process 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(pub Vec<String>);

impl Hosts {
    /// Reads a hosts file. What follows a `#` is a comment.
    ///
    /// # Errors
    /// [`Error::File`] with the line if one is no host:port or comes twice, or if there are no lines or too many.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::file(path, format!("cannot read the hosts: {error}")))?;
        Self::parse(&text).map_err(|reason| Error::file(path, reason))
    }

    /// Parses the text of a hosts file.
    ///
    /// ```
    /// use sluicebox::cluster::Hosts;
    ///
    /// let hosts = Hosts::parse("# two machines\nnode-0:7979\nnode-1:7979 # the other\n")?;
    /// assert_eq!(hosts.0, ["node-0:7979", "node-1:7979"]);
    /// assert!(Hosts::parse("node-0\n").unwrap_err().contains("line 1"));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hosts: Vec<String> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if !is_address(line) {
                return Err(format!("line {}: `{line}` is no host:port", at + 1));
            }
            if let Some(process) = hosts.iter().position(|host| host == line) {
                return Err(format!("line {}: {line} is process {process} already", at + 1));
            }
            hosts.push(line.into());
        }
        match hosts.len() {
            0 => Err("there is no line with a host:port".into()),
            count if count > MOST => Err(format!("there are {count} processes, but at most {MOST} can be")),
            _ => Ok(Self(hosts)),
        }
    }
}

/// Returns whether a text is host:port.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_ip_6 = host.starts_with('[') && host.ends_with(']');
    let is_name = !host.is_empty()
        && host.chars().all(|character| character.is_ascii_alphanumeric() || ".-_".contains(character));
    (is_ip_6 || is_name) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let fault = |text: &str| Hosts::parse(text).unwrap_err();
        assert_eq!(fault("a:1\nb\n"), "line 2: `b` is no host:port");
        assert_eq!(fault("a:1\n\n# b\nb:70000"), "line 4: `b:70000` is no host:port");
        assert_eq!(fault("a:1 b:2"), "line 1: `a:1 b:2` is no host:port");
        assert_eq!(fault("http://a:1"), "line 1: `http://a:1` is no host:port");
        assert_eq!(fault(":1"), "line 1: `:1` is no host:port");
        assert_eq!(fault("a:1\nb:1\na:1"), "line 3: a:1 is process 0 already");
        assert_eq!(fault("# nobody\n"), "there is no line with a host:port");
        assert!(fault(&(0..65).map(|at| format!("a:{at}\n")).collect::<String>()).contains("65 processes"));
        assert_eq!(Hosts::parse("[::1]:7\r\n a-b.c:1 \n").unwrap().0, ["[::1]:7", "a-b.c:1"]);
    }
}
