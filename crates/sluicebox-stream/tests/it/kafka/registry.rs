//! A schema registry for tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A registry that answers until the process ends.
pub struct Registry {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
    failures: Arc<AtomicUsize>,
}

impl Registry {
    /// Starts a registry of schemas by number, for whoever shows this authorization.
    pub fn start(schemas: serde_json::Value, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, failures) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (told, left) = (asked.clone(), failures.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let fails =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                if let Some(path) = answer(stream, &schemas, authorization, fails.is_ok()) {
                    told.lock().unwrap().push(path);
                }
            }
        });
        Self { url, asked, failures }
    }

    /// Answers the next requests with an error.
    pub fn fail(&self, requests: usize) {
        self.failures.store(requests, Ordering::Relaxed);
    }

    /// Returns the paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    schemas: &serde_json::Value,
    authorization: Option<&str>,
    fails: bool,
) -> Option<String> {
    let head: Vec<String> = BufReader::new(stream.try_clone().ok()?)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = head.first()?.split(' ').nth(1)?.to_string();
    let shown = |wanted: &str| {
        head.iter().any(|line| {
            line.split_once(": ")
                .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == wanted)
        })
    };
    let schema = path.strip_prefix("/schemas/ids/").and_then(|number| schemas.get(number));
    let (status, body) = match schema {
        _ if fails => (503, r#"{"error_code": 50003, "message": "no leader"}"#.to_string()),
        _ if !authorization.is_none_or(shown) => (401, r#"{"message": "who are you?"}"#.to_string()),
        None => (404, r#"{"error_code": 40403, "message": "Schema not found"}"#.to_string()),
        Some(schema) => (200, serde_json::json!({"schema": schema.to_string()}).to_string()),
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()); // who has left needs no answer
    Some(path)
}
