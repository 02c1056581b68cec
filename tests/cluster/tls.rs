//! Processes of a job with a certificate reach each other by TLS.

use crate::cluster::{Ended, Process, free_port, small};
use std::path::Path;

/// Writes a certificate of localhost and its key.
fn certificate(folder: &Path, name: &str) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    [("pem", made.cert.pem()), ("key", made.signing_key.serialize_pem())].map(|(kind, text)| {
        let path = folder.join(format!("{name}.{kind}"));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    })
}

#[test]
fn only_who_trusts_the_certificate_joins() {
    let folder = tempfile::tempdir().unwrap();
    let ([cert, key], [other, _]) = (certificate(folder.path(), "own"), certificate(folder.path(), "other"));
    let address = format!("localhost:{}", free_port());
    let server = [format!("server.cert={cert:?}"), format!("server.key={key:?}")];
    let sets = ["--set", &server[0], "--set", &server[1], "--processes", "2", "--join-at", &address];
    let arguments = small(2, &sets);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let head = Process::of(&arguments);
    head.wait_for("process 0 awaits");
    let joins = |more: &[&str]| -> Ended {
        Process::of(&[&["join", &address, "--start-timeout", "1s"], more].concat()).end()
    };
    let plain = joins(&[]);
    assert_eq!(plain.code, Some(2), "{plain:?}");
    assert!(plain.said.contains("if its job has server.cert, say --tls-ca"), "{plain:?}");
    let untrusted = joins(&["--tls-ca", &other]);
    assert_eq!(untrusted.code, Some(2), "{untrusted:?}");
    assert!(untrusted.said.contains("TLS fails: invalid peer certificate"), "{untrusted:?}");
    let right = joins(&["--tls-ca", &cert]);
    assert_eq!((right.code, head.end().code), (Some(0), Some(0)), "{right:?}");
}
