//! Requests in the forms in which people have their samples: features by name, and images.

use crate::http::{Answer, NDJSON, Options, Rig, numbers, pixels, rig};
use serde_json::json;
use sluicebox_core::sample::{Format, Label, Shape};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::decode;
use sluicebox_stream::decode::Form;
use sluicebox_stream::decode::table::{self, Categorical, Categories, Column};
use std::io::Cursor;
use std::time::{Duration, Instant};

fn by_name() -> Form {
    let columns = |names: &[&str]| names.iter().map(|name| Column::from(*name)).collect();
    let (features, ignore) = (columns(&["x1", "at.x"]), columns(&["when"]));
    let table = table::Options { features, ignore, class: Some("kind".into()), ..table::Options::default() };
    Form::of(decode::Options { table, ..decode::Options::default() }, &numbers())
}

#[test]
fn features_by_name_are_taken_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options { form: by_name(), ..Options::default() });
    let form = rig.get("/form.json").body;
    assert_eq!(form["features"], json!(["x1", "at.x"]));
    assert_eq!(
        (&form["class_key"], &form["id_key"], &form["shape"]),
        (&json!("kind"), &json!("id"), &json!([2]))
    );
    let lines = r#"{"x1": 1, "at": {"x": 2}, "kind": "emu", "id": 1}
                   {"at.x": 4, "when": "today", "x1": 3, "id": 2}"#;
    assert_eq!(rig.samples(lines).body["accepted"], 2);
    let list = json!([{"x1": 5, "at": {"x": 6}, "id": 3}, {"id": 4, "x1": 7, "at": {"x": 8}}]);
    let sent = rig.post("/samples", "application/json", &[], list.to_string().as_bytes());
    assert_eq!(sent.body["accepted"], 2, "{sent:?}");
    let stored = rig.stored();
    let values: Vec<f32> =
        stored.1.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
    assert_eq!((stored.0, values), (vec![1, 2, 3, 4], (1..9u8).map(f32::from).collect()));
    assert_eq!(rig.stored_labels(), [Label { id: 1, class: Some(2) }]);
    for (line, says) in [
        (r#"{"x1": 1}"#, "the value of `at.x` is missing"),
        (r#"{"x1": "1", "at.x": 2}"#, "`x1` is the text \"1\" where a number should be"),
        (r#"{"x1": 1, "at.x": 2, "x2": 3}"#, "unknown key `x2`; did you mean `x1`?"),
    ] {
        let answer = rig.post("/samples", NDJSON, &[], format!("[1, 2]\n{line}").as_bytes());
        answer.refuses(400, says);
        assert_eq!(answer.body["line"], 2);
    }
    rig.close();
}

#[test]
fn categories_and_missing_values_are_taken_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let columns = ["x1", "proto"].map(Column::from).to_vec();
    let named = Categories::Named(vec!["tcp".into(), "udp".into()]);
    let categorical = Categorical::Declared([("proto".to_string(), named)].into());
    let table = table::Options { features: columns, categorical, ..table::Options::default() };
    let format = Format { shape: Shape::Vector { features: 3 }, ..numbers() };
    let form = Form::of(decode::Options { table, ..decode::Options::default() }, &format);
    let rig = rig(folder.path(), format, Options { form, ..Options::default() });
    let told = rig.get("/form.json").body;
    assert_eq!((&told["categorical"], &told["may_miss"]), (&json!({"proto": ["tcp", "udp"]}), &json!(false)));
    let lines = r#"{"x1": 1, "proto": "udp", "id": 1}"#;
    assert_eq!(rig.samples(lines).body["accepted"], 1);
    let stored: Vec<f32> =
        rig.stored().1.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
    assert_eq!(stored, [1.0, 0.0, 1.0]);
    for (line, says) in [
        (r#"{"x1": 1, "proto": "gre"}"#, "`gre` in `proto` is none of its 2 categories (tcp, udp)"),
        (r#"{"x1": 1, "proto": null}"#, "the value of `proto` is missing"),
        (r#"{"x1": "tcp", "proto": "tcp"}"#, "name the column in source.categorical"),
    ] {
        rig.post("/samples", NDJSON, &[], line.as_bytes()).refuses(400, says);
    }
    rig.close();
}

fn png(side: u32, value: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(side, side, image::Luma([value]));
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Posts a form of these parts as curl does: an image has a file name.
fn form(rig: &Rig, parts: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "image" { "; filename=\"a.png\"\r\nContent-Type: image/png" } else { "" };
        let head = format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(&[head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend_from_slice(b"--xyz--\r\n");
    rig.post("/samples", "multipart/form-data; boundary=xyz", &[], &body)
}

#[test]
fn images_are_bodies_or_parts_of_a_form() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), pixels(), Options::default());
    let one = rig.post("/samples?label=dog&id=a-1", "image/png", &[], &png(2, 7));
    assert_eq!(one.body, json!({"accepted": 1, "repeated": 0, "first_id": "a-1", "ids": ["a-1"]}));
    let parts: [(&str, &[u8]); 6] = [
        ("label", b"cat"),
        ("id", b"5"),
        ("image", &png(2, 1)),
        ("id", b"6"),
        ("image", &png(2, 2)),
        ("image", &png(2, 3)),
    ];
    assert_eq!(form(&rig, &parts[..5]).body["ids"], json!([5, 6]));
    form(&rig, &parts).refuses(400, "either every sample of a request has an id, or none has");
    let key = SampleId::plain("a-1").unwrap().key;
    assert_eq!(rig.stored(), (vec![key, 5, 6], [[7; 4], [1; 4], [2; 4]].concat()));
    assert_eq!(rig.stored_labels(), [Label { id: key, class: Some(1) }, Label { id: 5, class: Some(0) }]);
    let post = |path: &str, kind: &str, body: &[u8]| rig.post(path, kind, &[], body);
    post("/samples", "image/png", &png(3, 7))
        .refuses(400, "an image of 3×3 instead of 2×2; set resize = true");
    post("/samples", "image/png", b"hello").refuses(400, "not a readable image");
    post("/samples", "image/svg+xml", b"<svg/>").refuses(415, "`image/svg+xml` is not supported");
    post("/samples?label=cow", "image/png", &png(2, 7)).refuses(400, "unknown class `cow`");
    post("/samples?label=dog", NDJSON, b"[1,2,3,4]").refuses(400, "`label` and `id` in the address");
    post("/samples", "multipart/form-data", b"").refuses(400, "the form cannot be read");
    post("/samples", "multipart/form-data; boundary=a", b"--a\r\n").refuses(400, "the form cannot be read");
    form(&rig, &[("file", b"x")]).refuses(400, "unknown part of the form `file`");
    form(&rig, &[("image", b"x")]).refuses(400, "image 1: not a readable image");
    form(&rig, &[("label", b"cat")]).refuses(400, "no image follows it");
    form(&rig, &[("label", &[b'x'; 2000])]).refuses(413, "more than 1024 bytes");
    form(&rig, &[]).refuses(400, "no sample in the body");
    assert_eq!(rig.stored().0.len(), 3);
    rig.close();
}

#[test]
fn images_of_another_size_are_resized_where_the_source_says_so_and_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let wide = Format { shape: Shape::Image { channels: 3, height: 2, width: 2 }, ..pixels() };
    let options = decode::Options { resize: true, ..decode::Options::default() };
    let form_of = Form::of(options, &wide);
    let rig = rig(folder.path(), wide, Options { form: form_of, ..Options::default() });
    assert_eq!(rig.get("/form.json").body["resize"], true);
    assert_eq!(rig.post("/samples", "image/png", &[], &png(64, 9)).body["accepted"], 1);
    assert_eq!(rig.stored().1, [9; 12]);
    // Small files with many pixels: 50 of 16 million each are more than a request may have.
    let huge = png(4000, 0);
    let many: Vec<(&str, &[u8])> = vec![("image", &huge[..]); 50];
    let began = Instant::now();
    form(&rig, &many).refuses(400, "image 17: the images have more than 268435456 pixels");
    assert!(began.elapsed() < Duration::from_secs(120));
    assert_eq!(rig.stored().1.len(), 12);
    rig.close();
}
