//! TLS and SASL: a topic is read where the settings are right, and the message says what to set where they are not.

use super::broker::Broker;
use super::certificates::Authority;
use super::sasl::Sasl;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Samples, Values};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, Source};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

fn spec(brokers: &str, more: &str) -> Spec {
    let text = format!(
        "brokers = \"{brokers}\"\ntopic = \"samples\"\nencoding = \"raw\"\nshape = [2]\ndtype = \"u8\"\n\
         classes = [\"cat\", \"dog\"]\n{more}"
    );
    Spec { kind: "kafka".into(), options: text.parse().unwrap() }
}

fn source(brokers: &str, more: &str) -> Result<Box<dyn Source>> {
    (SOURCES.find("kafka")?.build)(&spec(brokers, more), &Context::default())
}

/// Reads the one message of the topic, with these lines in the properties file.
fn read(broker: &Broker, folder: &Path, properties: &str) -> Result<Values> {
    let file = folder.join("client.properties");
    std::fs::write(&file, properties).unwrap();
    let more = format!("properties_file = {:?}\nconnect_timeout = \"20s\"", file.to_str().unwrap());
    let mut source = source(&broker.address, &more)?;
    let mut samples = Samples::none(Dtype::U8);
    let began = Instant::now();
    while samples.is_empty() {
        assert!(began.elapsed() < LIMIT, "no message came");
        source.read(1, &mut samples)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(samples.values)
}

/// Returns why the topic cannot be read, as a broker that does not suit tells it within 3 s.
fn refused(broker: &Broker, folder: &Path, properties: &str) -> String {
    let file = folder.join("client.properties");
    std::fs::write(&file, properties).unwrap();
    let more = format!("properties_file = {:?}\nconnect_timeout = \"3s\"", file.to_str().unwrap());
    let mut samples = Samples::none(Dtype::U8);
    let read = source(&broker.address, &more).and_then(|mut source| source.read(1, &mut samples));
    read.unwrap_err().to_string()
}

#[test]
fn a_topic_is_read_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let broker = Broker::start(1, Some(authority.server(&authority.sign("127.0.0.1", false), false)), None);
    broker.send(0, &[1, 2], None, &[]);
    let trusts = |authority: &Authority| {
        format!("security.protocol=ssl\nssl.ca.location={}\n", authority.file.display())
    };
    assert_eq!(read(&broker, folder.path(), &trusts(&authority)).unwrap(), Values::U8(vec![1, 2]));
    let reason = refused(&broker, folder.path(), &trusts(&other));
    assert!(reason.contains("certificate verify failed"), "{reason}");
    assert!(reason.contains("not of an authority in ssl.ca.location, or has expired"), "{reason}");
    let reason = refused(&broker, folder.path(), "");
    assert!(reason.contains("set security.protocol to ssl or sasl_ssl"), "{reason}");
    // The port of the cluster itself has no TLS.
    let mut plain = Broker::start(1, None, None);
    plain.address = plain.mock.bootstrap_servers();
    let reason = refused(&plain, folder.path(), &trusts(&authority));
    assert!(reason.contains("this port of the broker has no TLS"), "{reason}");
    for (name, has_expired) in [("127.0.0.1", true), ("elsewhere", false)] {
        let broker =
            Broker::start(1, Some(authority.server(&authority.sign(name, has_expired), false)), None);
        let reason = refused(&broker, folder.path(), &trusts(&authority));
        assert!(reason.contains("has expired, or is for another host name"), "{name}: {reason}");
    }
}

#[test]
fn a_client_shows_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let broker = Broker::start(1, Some(authority.server(&authority.sign("127.0.0.1", false), true)), None);
    broker.send(0, &[1, 2], None, &[]);
    let trusts = format!("security.protocol=ssl\nssl.ca.location={}\n", authority.file.display());
    let with = |authority: &Authority| {
        let own = authority.sign("client", false);
        let (certificate, key) = (folder.path().join("client.pem"), folder.path().join("client.key"));
        std::fs::write(&certificate, own.certificate).unwrap();
        std::fs::write(&key, own.key).unwrap();
        let (certificate, key) = (certificate.display(), key.display());
        format!("{trusts}ssl.certificate.location={certificate}\nssl.key.location={key}\n")
    };
    assert_eq!(read(&broker, folder.path(), &with(&authority)).unwrap(), Values::U8(vec![1, 2]));
    for properties in [trusts.clone(), with(&other)] {
        let reason = refused(&broker, folder.path(), &properties);
        assert!(reason.contains("ssl.certificate.location"), "{reason}");
    }
}

#[test]
fn a_client_shows_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ours");
    let tls = authority.server(&authority.sign("127.0.0.1", false), false);
    let settings = |mechanism: &str, user: &str, password: &str| {
        format!(
            "security.protocol=sasl_ssl\nssl.ca.location={}\nsasl.mechanism={mechanism}\nsasl.username={user}\n\
             sasl.password={password}\n",
            authority.file.display()
        )
    };
    let plain = Broker::start(1, Some(tls.clone()), Some(Sasl::Plain("reader", "sesame")));
    let scram = Broker::start(1, Some(tls), Some(Sasl::Scram("reader", "sesame")));
    for (broker, mechanism) in [(&plain, "PLAIN"), (&scram, "SCRAM-SHA-256")] {
        broker.send(0, &[1, 2], None, &[]);
        let values = read(broker, folder.path(), &settings(mechanism, "reader", "sesame")).unwrap();
        assert_eq!(values, Values::U8(vec![1, 2]), "{mechanism}");
        let reason = refused(broker, folder.path(), &settings(mechanism, "reader", "hunter2"));
        assert!(reason.contains("Authentication failed"), "{mechanism}: {reason}");
        assert!(reason.contains("check sasl.mechanism, sasl.username and sasl.password"), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
    let reason = refused(&plain, folder.path(), &settings("SCRAM-SHA-512", "reader", "sesame"));
    assert!(reason.contains("set sasl.mechanism to one that the broker has"), "{reason}");
    // Over plaintext, too.
    let bare = Broker::start(1, None, Some(Sasl::Plain("reader", "sesame")));
    bare.send(0, &[3, 4], None, &[]);
    let properties = "security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN\nsasl.username=reader\nsasl.password=sesame\n";
    assert_eq!(read(&bare, folder.path(), properties).unwrap(), Values::U8(vec![3, 4]));
    let reason = refused(&bare, folder.path(), "security.protocol=sasl_plaintext\n");
    assert!(reason.contains("set sasl.mechanism to PLAIN, SCRAM-SHA-256"), "{reason}");
}

/// Answers `count` requests to a token endpoint, one after the other; returns its address.
fn endpoint(answers: Vec<(u16, String)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/token", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("grant_type") {
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0);
                request.extend_from_slice(&piece[..read]);
            }
            asked.push(String::from_utf8_lossy(&request).into_owned());
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
        asked
    });
    (address, serving)
}

#[test]
fn a_client_shows_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(1, None, Some(Sasl::Token("abc.def".into())));
    broker.send(0, &[1, 2], None, &[]);
    let settings = |endpoint: &str| {
        format!(
            "security.protocol=sasl_plaintext\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
             sasl.oauthbearer.token.endpoint.url={endpoint}\nsasl.oauthbearer.client.id=reader\n\
             sasl.oauthbearer.client.secret=sesame\nsasl.oauthbearer.scope=topics\n"
        )
    };
    let answer = r#"{"access_token": "abc.def", "expires_in": 3600}"#.to_string();
    let (address, serving) = endpoint(vec![(200, answer)]);
    assert_eq!(read(&broker, folder.path(), &settings(&address)).unwrap(), Values::U8(vec![1, 2]));
    let asked = serving.join().unwrap().remove(0);
    assert!(asked.contains("Basic cmVhZGVyOnNlc2FtZQ=="), "{asked}");
    assert!(asked.contains("grant_type=client_credentials&scope=topics"), "{asked}");
    let (address, _serving) = endpoint(vec![(401, "unknown client".into())]);
    let reason = refused(&broker, folder.path(), &settings(&address));
    assert!(reason.contains("401") && reason.contains("unknown client"), "{reason}");
    assert!(reason.contains("check sasl.oauthbearer.client.id") && !reason.contains("sesame"), "{reason}");
    let reason =
        refused(&broker, folder.path(), "security.protocol=sasl_plaintext\nsasl.mechanism=OAUTHBEARER\n");
    assert!(reason.contains("needs sasl.oauthbearer.method = oidc"), "{reason}");
}

#[test]
fn values_of_settings_are_not_in_messages() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(1, None, None);
    let reason = refused(&broker, folder.path(), "sasl.passwrd=hunter2\n");
    assert!(reason.contains("sasl.passwrd: No such configuration property"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}
