//! Client of `POST /labels`, behind `sluicebox label`.

use crate::backoff::Backoff;
use crate::http;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::terminal::tell;
use sluicebox_stream::decode::lines::without_byte_order_mark;
use sluicebox_stream::ingest::LabelMessage;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// Most labels per request.
const BATCH: usize = 1000;
/// Longest line, in bytes.
const LONGEST_LINE: u64 = 1 << 16;
/// First and longest pause between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Attempts per request: about a minute in total, time for a server to restart.
const ATTEMPTS: u32 = 16;
/// Timeout of one attempt.
const PATIENCE: Duration = Duration::from_secs(30);

/// Client that sends labels to one job.
///
/// ```no_run
/// use sluicebox_client::labels::{Client, parse};
///
/// let client = Client::new("http://127.0.0.1:7878", None, None)?;
/// let labels = [parse("7=cat")?, parse("8=null")?];
/// assert_eq!(client.send(&labels)?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    server: http::Client,
}

impl Client {
    /// Creates a client of the server at `address`, such as `http://127.0.0.1:7878`. `authority` is
    /// a file (PEM) with the certificates to trust instead of the default ones.
    pub fn new(address: &str, token: Option<String>, authority: Option<&Path>) -> Result<Self> {
        Ok(Self { server: http::Client::new(address, token, authority, PATIENCE)? })
    }

    /// Sends labels in batches and returns how many the server accepted. Retries while it is away.
    pub fn send(&self, labels: &[LabelMessage]) -> Result<u64> {
        let mut accepted = 0;
        for part in labels.chunks(BATCH) {
            self.send_part(part).map_err(|error| after(accepted, error))?;
            accepted += part.len() as u64;
        }
        Ok(accepted)
    }

    /// Sends the labels of a text: one `id,class` or one JSON object per line. Sends the lines that
    /// have arrived without waiting for more.
    pub fn send_lines(&self, input: impl Read, name: &Path) -> Result<u64> {
        let mut input = BufReader::new(input);
        let (mut waiting, mut accepted, mut number) = (Vec::new(), 0, 0);
        loop {
            let mut line = Vec::new();
            let read = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line);
            let ended = read.map_err(|error| Error::file(name, error))? == 0;
            number += 1;
            match label_of_line(&line, number == 1) {
                Ok(label) => waiting.extend(label),
                Err(reason) => {
                    return Err(after(accepted, Error::file(name, format!("line {number}: {reason}"))));
                }
            }
            if ended || waiting.len() == BATCH || !input.buffer().contains(&b'\n') {
                accepted += self.send(&waiting).map_err(|error| after(accepted, error))?;
                waiting.clear();
            }
            if ended {
                return Ok(accepted);
            }
        }
    }

    fn send_part(&self, labels: &[LabelMessage]) -> Result<()> {
        let address = format!("{}/labels", self.server.address());
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        for attempt in 1.. {
            let reason = match self.server.post("/labels", labels) {
                Ok(reply) => match reply.status.as_u16() {
                    200 => return Ok(()),
                    429 | 500..=599 => reply.reason(),
                    _ => return Err(Error::Request(reply.reason())),
                },
                Err(
                    error @ (ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed),
                ) => error.to_string(),
                Err(error) => return Err(Error::Request(format!("{address}: {error}"))),
            };
            if attempt == ATTEMPTS {
                return Err(Error::Request(format!("{address}: {reason}")));
            }
            if attempt == 1 {
                tell(&format!("{address}: {reason}; retrying"));
            }
            std::thread::sleep(backoff.pause());
        }
        Ok(())
    }
}

fn after(accepted: u64, error: Error) -> Error {
    match accepted {
        0 => error,
        _ => Error::Request(format!("{error}\n{accepted} labels before that were accepted")),
    }
}

/// Parses `7=cat`, or `7=null` to withdraw. An id with `=` in it needs a file.
///
/// ```
/// use sluicebox_client::labels::parse;
///
/// let label = parse("7=cat")?;
/// assert_eq!((label.id.key, label.class.as_deref()), (7, Some("cat")));
/// assert!(parse("7=null")?.class.is_none());
/// # Ok::<(), String>(())
/// ```
pub fn parse(text: &str) -> Result<LabelMessage, String> {
    let (id, class) = text.split_once('=').ok_or(format!("`{text}` is not ID=CLASS"))?;
    label(id, class)
}

fn label(id: &str, class: &str) -> Result<LabelMessage, String> {
    let id = SampleId::plain(id.trim())?;
    let class = match class.trim() {
        "" | "null" => None,
        name => Some(name.to_string()),
    };
    Ok(LabelMessage { id, class })
}

/// Parses the label of a line; none for a blank line, or for a header in the first line.
fn label_of_line(line: &[u8], first: bool) -> Result<Option<LabelMessage>, String> {
    let line = if first { without_byte_order_mark(line) } else { line }.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    if line.starts_with(b"{") {
        return serde_json::from_slice(line).map(Some).map_err(|error| error.to_string());
    }
    if line.contains(&b'\r') {
        return Err("lines end with CR alone; end them with LF, as tr '\\r' '\\n' does".into());
    }
    let mut row = csv::StringRecord::new();
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    rows.read_record(&mut row).map_err(|error| error.to_string())?;
    match (row.get(0), row.get(1), row.len()) {
        (Some(id), Some(_), 2) if first && id.trim().eq_ignore_ascii_case("id") => Ok(None),
        (Some(id), Some(class), 2) => label(id, class).map(Some),
        _ => Err("a line is `id,class`, or {\"id\": 7, \"class\": \"cat\"}".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_people_write_them() {
        let cat = |id| LabelMessage { id: SampleId::number(id), class: Some("cat".into()) };
        let none = |id| LabelMessage { id: SampleId::number(id), class: None };
        assert_eq!((parse("7=cat").unwrap(), parse("9=null").unwrap()), (cat(7), none(9)));
        assert_eq!(parse("7=a=b").unwrap().class.as_deref(), Some("a=b"));
        assert!(
            parse("7").unwrap_err().contains("ID=CLASS") && parse("=cat").unwrap_err().contains("is empty")
        );
        assert_eq!(label_of_line(b"id,class\r\n", true).unwrap(), None);
        assert_eq!(label_of_line(b"7,cat\n", true).unwrap(), Some(cat(7)));
        assert_eq!(label_of_line(b"\xef\xbb\xbfid,class\n", true).unwrap(), None);
        assert_eq!(label_of_line(b"\xef\xbb\xbf7,cat\n", true).unwrap(), Some(cat(7)));
        assert_eq!(label_of_line(b" 7 , \"cat\"", false).unwrap_or(None).map(|said| said.id.key), Some(7));
        assert_eq!(label_of_line(b"7,\n", false).unwrap(), Some(none(7)));
        assert_eq!(label_of_line(b"{\"id\": 7, \"class\": null}", false).unwrap(), Some(none(7)));
        assert_eq!(parse("7.0=1").unwrap().id, SampleId::number(7));
        let uuid = "7f3b1c9e-2d4a-4a51-9c60-0f6d2b8e7a11";
        let text = |id: &str| LabelMessage { id: SampleId::quoted(id).unwrap(), class: Some("cat".into()) };
        assert_eq!(parse(&format!("{uuid}=cat")).unwrap(), text(uuid));
        assert_eq!(label_of_line(b"\"a,b\",cat", false).unwrap(), Some(text("a,b")));
        assert_eq!(label_of_line(b"{\"id\": \"x\", \"class\": \"cat\"}", false).unwrap(), Some(text("x")));
        let large = label_of_line(b"{\"id\": 9007199254740993, \"class\": \"cat\"}", false).unwrap().unwrap();
        assert_eq!(large.id, parse("9007199254740993=cat").unwrap().id);
        assert_eq!(serde_json::to_string(&large).unwrap(), r#"{"id":9007199254740993,"class":"cat"}"#);
        for wrong in ["7", "7,cat,1", "{\"id\": 7}", "{\"id\": 1.5, \"class\": 1}", ",cat", "7,cat\r8,dog\r"]
        {
            assert!(label_of_line(wrong.as_bytes(), false).is_err(), "{wrong}");
        }
    }
}
