//! Ids as people have them: texts and numbers of 64 bits are taken wherever an id is taken, and given back as they were
//! sent.

use crate::http::{NDJSON, Options, agent, answer, pixels, rig, start_job};
use serde_json::{Value, json};
use sluicebox_core::sample::Label;
use sluicebox_core::sample_id::{GIVEN_IDS, SampleId};
use std::time::{Duration, Instant};

const UUID: &str = "7f3b1c9e-2d4a-4a51-9c60-0f6d2b8e7a11";
const SNOWFLAKE: u64 = 1_234_567_890_123_456_789;

#[test]
fn they_are_given_back_as_they_were_sent_and_a_label_finds_its_sample() {
    let folder = tempfile::tempdir().unwrap();
    let first = rig(folder.path(), pixels(), Options::default());
    let ids = [
        json!(UUID),
        json!(SNOWFLAKE),
        json!(u64::MAX),
        json!(-5),
        json!("7"),
        json!("007"),
        json!("ид/ä 1"),
    ];
    let line =
        |(at, id): (usize, &Value)| json!({"id": id, "values": [at, 0, 0, 0], "label": 1}).to_string() + "\n";
    let lines: String = ids.iter().enumerate().map(line).collect();
    let said = first.samples(&lines);
    assert_eq!(said.body, json!({"accepted": 7, "repeated": 0, "first_id": UUID, "ids": ids}));
    assert!(said.body["ids"].to_string().contains("18446744073709551615"), "not rounded");
    // Labels by text, by number, with 7 for "7", and one for a sample that is yet to come.
    let labels = format!(
        "{{\"id\": \"{UUID}\", \"class\": 0}}\n{{\"id\": {SNOWFLAKE}, \"class\": 0}}\n{{\"id\": 7.0, \"class\": 0.0}}\n\
         {{\"id\": \"late\", \"class\": \"dog\"}}\n"
    );
    assert_eq!(first.labels(&labels).body, json!({"accepted": 4}));
    let key = |text: &str| SampleId::plain(text).unwrap().key;
    let told: Vec<Label> = first.stored_labels().split_off(7);
    let label = |id: u64, class| Label { id, class: Some(class) };
    assert_eq!(
        told,
        [label(key(UUID), 0), label(key(&SNOWFLAKE.to_string()), 0), label(7, 0), label(key("late"), 1)]
    );
    // Raw bodies have their ids in a header.
    let headers = [("X-Shape", "2,1,2,2"), ("X-Dtype", "u8"), ("X-Ids", "order-7, 9007199254740993")];
    let raw = first.post("/samples", "application/octet-stream", &headers, &[1; 8]);
    assert_eq!(raw.body["ids"], json!(["order-7", 9_007_199_254_740_993_u64]));
    first.close();

    // They are known after a restart, and 7 is "7".
    let again = rig(folder.path(), pixels(), Options::default());
    assert_eq!(
        again.samples(&lines).body,
        json!({"accepted": 0, "repeated": 7, "first_id": UUID, "ids": ids})
    );
    let other = |id: &str| again.samples(&format!("{{\"id\": {id}, \"values\": [9, 9, 9, 9]}}"));
    other("7").refuses(409, "id 7 was used before with other values");
    other(&format!("\"{UUID}\"")).refuses(409, &format!("id {UUID} was used before"));
    other("18446744073709551615").refuses(409, "id 18446744073709551615 was used before");
    let long = "x".repeat(129);
    for (id, says) in [
        (format!("\"{long}\""), "an id of 129 bytes: at most 128 are taken"),
        ("\"\"".into(), "an id is empty"),
        ("18446744073709551616".into(), "expected an id: a whole number of 64 bits, or a text"),
        ("9007199254740993.0".into(), "expected an id: a whole number of 64 bits, or a text"),
        (GIVEN_IDS.to_string(), "is not for feeders to choose"),
        ("[1]".into(), "expected an id"),
    ] {
        other(&id).refuses(400, says);
    }
    again.close();
}

#[test]
fn a_byte_order_mark_before_samples_or_labels_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), pixels(), Options::default());
    let mark = "\u{feff}";
    assert_eq!(rig.samples(&format!("{mark}[1,2,3,4]\n[1,2,3,5]\n")).body["accepted"], 2);
    for (body, count) in [("[[1,2,3,4],[1,2,3,5]]", 2), ("{\"values\": [1,2,3,4]}", 1)] {
        let sent = rig.post("/samples", "application/json", &[], format!("{mark}{body}").as_bytes());
        assert_eq!(sent.body["accepted"], count, "{sent:?}");
    }
    assert_eq!(rig.labels(&format!("{mark}{{\"id\": 7, \"class\": 1.0}}")).body["accepted"], 1);
    assert_eq!(rig.labels(&format!("{mark}[{{\"id\": 7, \"class\": \"1.0\"}}]")).body["accepted"], 1);
    rig.close();
}

#[test]
fn predictions_have_them_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("predictions.ndjson");
    let job = folder.path().join("job.toml");
    let text = std::fs::read_to_string("pipelines/http.toml").unwrap();
    let sink = format!("\n[[sink]]\nkind = \"predictions\"\npath = \"{}\"\n", file.display());
    std::fs::write(&job, text + &sink).unwrap();
    let id = |number: usize| match number % 4 {
        0 => json!(format!("sample-{number:04}")),
        1 => json!(SNOWFLAKE + number as u64),
        2 => json!(number.to_string()),
        _ => json!(number),
    };
    let sample = |number: usize| {
        let label = if number < 30 { json!(number % 10) } else { Value::Null };
        json!({"id": id(number), "values": vec![number % 17; 64], "label": label}).to_string() + "\n"
    };
    let post = |url: &str, numbers: std::ops::Range<usize>| {
        let request = agent().post(format!("{url}/samples")).header("Content-Type", NDJSON);
        answer(request.send(numbers.map(sample).collect::<String>()).unwrap()).body
    };
    let predicted = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).map_or(Value::Null, |l| l["id"].clone()))
            .collect::<Vec<_>>()
    };
    let (mut child, url) = start_job(&job, &state, &[]);
    assert_eq!(post(&url, 0..40)["accepted"], 40);
    let began = Instant::now();
    while predicted().len() < 40 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (child, url) = start_job(&job, &state, &["stop.samples=60"]);
    assert_eq!(post(&url, 30..60)["repeated"], 10);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(predicted(), (0..60).map(id).collect::<Vec<Value>>());
}
