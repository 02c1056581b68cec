//! A small server of files for tests: web server (GET, HEAD, ranges) and S3 (with listings), which fails as it is told.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The answer has this status.
    Status(u16),
    /// The connection is closed after so many bytes of the content.
    CutAfter(usize),
    /// The connection is closed without an answer.
    NoAnswer,
}

/// Files and troubles.
#[derive(Default)]
pub struct Served {
    /// Contents by path: `bucket/key`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Troubles of the next answers about a path; the first one comes first.
    pub troubles: HashMap<String, Vec<Trouble>>,
    /// Trouble of every answer.
    pub always: Option<Trouble>,
    /// Whether parts of files are given.
    pub no_ranges: bool,
    /// Most keys in one page of a listing.
    pub page: usize,
    /// Bytes of whole contents that were sent.
    pub sent: usize,
    /// Requests so far: method, path and range.
    pub requests: Vec<String>,
}

/// A running server; it ends with the process.
#[derive(Clone)]
pub struct ObjectServer {
    pub served: Arc<Mutex<Served>>,
    pub port: u16,
}

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    range: Option<String>,
}

impl ObjectServer {
    /// Starts a server of these files.
    pub fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let files = files.into_iter().collect();
        let served = Arc::new(Mutex::new(Served { files, page: 1000, ..Served::default() }));
        let server = Self { served: served.clone(), port };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || drop(serve(stream, &served)));
            }
        });
        server
    }

    /// Returns the environment in which S3 is this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        vec![
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    pub fn put(&self, path: &str, content: Vec<u8>) {
        self.served.lock().unwrap().files.insert(path.into(), content);
    }

    pub fn trouble(&self, path: &str, troubles: &[Trouble]) {
        self.served.lock().unwrap().troubles.insert(path.into(), troubles.to_vec());
    }

    /// Returns the requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.served.lock().unwrap().requests)
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap()
}

fn request(input: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|got| *got > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut range = None;
    loop {
        let mut header = String::new();
        input.read_line(&mut header).ok().filter(|got| *got > 0)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("range") {
            range = Some(value.trim().to_string());
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(&value.replace('+', " ")))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Some(Request { method, path: decoded(path.trim_start_matches('/')), query, range })
}

fn serve(mut stream: TcpStream, served: &Mutex<Served>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    while let Some(request) = request(&mut input) {
        let (head, body, trouble) = {
            let mut served = served.lock().unwrap();
            // A process that shares no memory with the server makes it fail.
            if let Some(status) = request.path.strip_prefix("always/") {
                served.always = status.parse().ok().filter(|status| *status > 0).map(Trouble::Status);
                return Ok(());
            }
            let range = request.range.clone().unwrap_or_default();
            served
                .requests
                .push(format!("{} {} {range}", request.method, request.path).trim_end().to_string());
            let troubles = served.troubles.entry(request.path.clone()).or_default();
            let trouble = if troubles.is_empty() { served.always } else { Some(troubles.remove(0)) };
            let (head, body) = match trouble {
                Some(Trouble::Status(status)) => {
                    answer(status, "", b"<Error><Code>Trouble</Code></Error>".to_vec())
                }
                _ => content(&served, &request),
            };
            (head, body, trouble)
        };
        if trouble == Some(Trouble::NoAnswer) {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        stream.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            continue;
        }
        match trouble {
            Some(Trouble::CutAfter(bytes)) if bytes < body.len() => {
                stream.write_all(&body[..bytes])?;
                stream.flush()?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            _ => {
                for piece in body.chunks(1 << 16) {
                    stream.write_all(piece)?;
                    served.lock().unwrap().sent += piece.len();
                }
            }
        }
    }
    Ok(())
}

fn answer(status: u16, headers: &str, body: Vec<u8>) -> (String, Vec<u8>) {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    (head, body)
}

fn content(served: &Served, request: &Request) -> (String, Vec<u8>) {
    if request.query.contains_key("list-type") {
        return listing(served, request);
    }
    let Some(file) = served.files.get(&request.path) else {
        return answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
    };
    let sum: u64 =
        file.iter().fold(file.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let same = format!("etag: \"{sum:x}\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    let part = request.range.as_ref().filter(|_| !served.no_ranges).and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse::<usize>().map_or(file.len(), |last| (last + 1).min(file.len()));
        Some((first.parse::<usize>().ok()?, last))
    });
    match part {
        None => answer(200, &same, file.clone()),
        Some((first, last)) if first < last => {
            let range = format!("{same}content-range: bytes {first}-{}/{}\r\n", last - 1, file.len());
            answer(206, &range, file[first..last].to_vec())
        }
        Some(_) => answer(416, "", Vec::new()),
    }
}

/// A page of the keys of a bucket: ListObjectsV2.
fn listing(served: &Served, request: &Request) -> (String, Vec<u8>) {
    let bucket = format!("{}/", request.path.trim_end_matches('/'));
    let prefix = request.query.get("prefix").cloned().unwrap_or_default();
    let after = request.query.get("continuation-token").cloned().unwrap_or_default();
    let keys = served.files.iter().filter_map(|(path, file)| Some((path.strip_prefix(&bucket)?, file.len())));
    let mut keys: Vec<(&str, usize)> =
        keys.filter(|(key, _)| key.starts_with(&prefix) && *key > after.as_str()).collect();
    let more = keys.len() > served.page;
    keys.truncate(served.page);
    let escaped = |key: &str| key.replace('&', "&amp;").replace('<', "&lt;");
    let contents: String = keys
        .iter()
        .map(|(key, size)| {
            format!(
                "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"x\"</ETag>\
                 <Size>{size}</Size></Contents>",
                escaped(key)
            )
        })
        .collect();
    let next = match keys.last() {
        Some((key, _)) if more => format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(key)),
        _ => String::new(),
    };
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>b</Name><KeyCount>{}</KeyCount>\
         <MaxKeys>1000</MaxKeys><IsTruncated>{more}</IsTruncated>{next}{contents}</ListBucketResult>",
        keys.len()
    );
    answer(200, "content-type: application/xml\r\n", page.into_bytes())
}
