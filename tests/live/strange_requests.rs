//! Requests that no well-meaning client sends: odd queries, headers that can be read in two ways, pages of others.

use crate::showing::about;
use crate::showing::{Rig, rig, rig_of};
use serde_json::Value;
use sluicebox::serve::http::Limits;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends bytes and returns everything that comes back until the server closes the connection.
fn raw(rig: &Rig, request: &str) -> String {
    let mut stream = TcpStream::connect(&rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a request with these headers besides the usual ones; returns status, head and body.
fn send(rig: &Rig, method: &str, path: &str, headers: &str) -> (u16, String, Value) {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", rig.address) };
    let answer = raw(rig, &format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let body = serde_json::from_str(body).unwrap_or_default();
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body)
}

#[test]
fn no_query_makes_a_sound_history_look_damaged() {
    let rig = rig();
    (1..=3).for_each(|epoch| rig.shown.epoch(epoch));
    let numbers = [
        "0",
        "1",
        "4",
        "007",
        "-1",
        "1.5",
        "1e3",
        "",
        "x",
        "NaN",
        "9007199254740993",
        "72057594037927936",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "%00",
        "%ff",
        "%F0%9F%98%80",
        "0x10",
        "+3",
        " 3",
        "null",
    ];
    let mut queries = vec!["?", "?=", "?&", "?epoch", "?epoch=1&epoch=2", "?Epoch=1", "?epoch[]=1"];
    let made: Vec<String> = ["epoch", "from", "to", "points", "meters", "ids", "probabilities"]
        .iter()
        .flat_map(|key| numbers.iter().map(move |number| format!("?{key}={}", number.replace(' ', "%20"))))
        .collect();
    queries.extend(made.iter().map(String::as_str));
    queries.extend(["?from=0&to=18446744073709551615", "?from=18446744073709551615&to=18446744073709551615"]);
    queries.extend(["?from=1&from=2", "?points=1&points=2", "?meters=accuracy&meters=loss", "?meters=,"]);
    for query in queries {
        for (method, path) in [
            ("GET", "/report.json"),
            ("GET", "/history.json"),
            ("GET", "/lines.json"),
            ("GET", "/about.json"),
            ("GET", "/progress.json"),
            ("GET", "/wall.json"),
            ("GET", "/meters.json"),
            ("GET", "/healthz"),
            ("GET", "/metrics"),
            ("POST", "/samples"),
            ("POST", "/labels"),
            ("POST", "/predict"),
            ("POST", "/control/checkpoint"),
        ] {
            let (status, _, body) = send(&rig, method, &format!("{path}{query}"), "Content-Length: 0\r\n");
            let wrong = status >= 500 || body.to_string().contains("damaged");
            assert!(!wrong, "{method} {path}{query}: {status} {body}");
        }
    }
    let report = |epoch: &str| send(&rig, "GET", &format!("/report.json?epoch={epoch}"), "");
    for far in ["18446744073709551615", "9223372036854775808", "9223372036854775807", "0"] {
        let (status, _, body) = report(far);
        assert_eq!((status, body), (200, Value::Null), "{far}");
    }
    for wrong in ["-1", "1.5", "", "18446744073709551616", "1&epoch=2"] {
        assert_eq!(report(wrong).0, 400, "{wrong}");
    }
    assert_eq!(report("2").2["epoch"], 2);
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let rig = rig();
    let host = format!("Host: {}\r\n", rig.address);
    for twice in [
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n".to_string(),
        format!("Origin: http://{0}\r\nOrigin: http://{0}\r\n", rig.address),
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n".into(),
        "Content-Type: application/json\r\nContent-Type: application/x-npy\r\nContent-Length: 0\r\n".into(),
        "Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n".into(),
        "X-Shape: 1\r\nX-Shape: 2\r\nContent-Length: 0\r\n".into(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".into(),
        format!("{host}{host}"),
        format!("{host}Host: evil.example\r\n"),
        format!("Host: evil.example\r\n{host}"),
        "Host: ev\u{e4}l.example\r\n".into(),
        "Host:\r\nHost:\r\n".into(),
        // The lengths of a body.
        "Content-Length: 0\r\nContent-Length: 5\r\n".into(),
        "Content-Length: 0, 5\r\n".into(),
        "Content-Length: -1\r\n".into(),
        "Content-Length: +5\r\n".into(),
        "Content-Length: 0x5\r\n".into(),
        "Content-Length: 99999999999999999999\r\n".into(),
        "Transfer-Encoding: chunked, identity\r\n".into(),
        "Transfer-Encoding: x-chunked\r\n".into(),
        "Content-Length : 0\r\n".into(),
        "X-Folded: a\r\n b\r\n".into(),
    ] {
        let (status, _, body) = send(&rig, "POST", "/control/pause", &twice);
        assert_eq!(status, 400, "{twice:?}: {body}");
    }
    let missing = raw(&rig, "POST /control/pause HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 400"), "{missing}");
    assert!(!rig.shown.status.controls.is_paused());
    let once = send(&rig, "GET", "/progress.json", "");
    assert_eq!(once.0, 200, "{once:?}");
}

#[test]
fn what_follows_a_doubtful_body_is_no_second_request() {
    let rig = rig();
    let hidden = "0\r\n\r\nPOST /control/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    for headers in [
        "Content-Length: LENGTH\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: LENGTH\r\n",
    ] {
        let headers = headers.replace("LENGTH", &hidden.len().to_string());
        let request =
            format!("POST /control/checkpoint HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{hidden}");
        let answer = raw(&rig, &request);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(!rig.shown.status.controls.is_paused(), "{answer}");
    }
}

#[test]
fn a_form_of_another_site_moves_nothing() {
    let rig = rig_of(about(), None, Limits::default());
    for site in ["cross-site", "same-site", "nonsense"] {
        for mode in ["navigate", "no-cors", "cors"] {
            let headers =
                format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\nContent-Length: 0\r\n");
            let (status, _, body) = send(&rig, "POST", "/control/pause", &headers);
            assert_eq!(status, 403, "{site} {mode}: {body}");
        }
    }
    assert!(!rig.shown.status.controls.is_paused());
    for site in ["same-origin", "none"] {
        let headers = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: cors\r\nContent-Length: 0\r\n");
        assert_eq!(send(&rig, "POST", "/control/pause", &headers).0, 200, "{site}");
    }
    assert!(rig.shown.status.controls.is_paused());
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(send(&rig, "GET", "/", link).0, 200);
}

#[test]
fn answers_are_packed_for_those_who_take_it() {
    let rig = rig();
    let asked = |path: &str, more: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}Connection: close\r\n\r\n", rig.address);
        let mut stream = TcpStream::connect(&rig.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer.len() - end)
    };
    for path in ["/", "/page/page.css", "/page/main.js", "/meters.json", "/metrics"] {
        let (plain, whole) = asked(path, "");
        let (packed, less) = asked(path, "Accept-Encoding: gzip, deflate, br\r\n");
        assert!(plain.starts_with("http/1.1 200") && !plain.contains("content-encoding"), "{path}: {plain}");
        assert!(
            packed.contains("content-encoding: gzip") && 2 * less < whole,
            "{path}: {less} of {whole} bytes"
        );
    }
}
