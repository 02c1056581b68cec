//! What a stranger's bytes go through: one function per decoder. Each must end soon and in little memory,
//! whatever the bytes are, and what it lets through must be as promised. The first byte of the input says how
//! the rest is read. The fuzz targets in `fuzz/` run the same functions.

use bytes::Bytes;
use sluicebox_core::sample::{Dtype, Format, Shape, Values};
use sluicebox_core::sample_id::is_given;
use sluicebox_stream::decode::labels::Labels;
use sluicebox_stream::decode::table::{self, Column};
use sluicebox_stream::decode::{self, DecodeError, Keys, Record, Records, Wanted};
use sluicebox_stream::ingest::LabelMessage;
use sluicebox_stream::protocol::{self, Frame, HELLO_BYTES, Hello, Reply};
use std::io::Cursor;

/// A decoder of untrusted bytes.
pub type Decoder = fn(&[u8]);

/// Every decoder, under the name of its fuzz target and of its folder of inputs.
pub const DECODERS: [(&str, Decoder); 15] = [
    ("arrow", arrow),
    ("avro", avro),
    ("cifar", cifar),
    ("csv", csv),
    ("frame", frame),
    ("hello", hello),
    ("idx", idx),
    ("image", image),
    ("json", json),
    ("labels", labels),
    ("ndjson", ndjson),
    ("npy", npy),
    ("packed", packed),
    ("parquet", parquet),
    ("tar", tar),
];

const LONGEST_FRAME: usize = 1 << 16;
const MOST_SAMPLES: usize = 1000;

/// Columns as Arrow files and streams hold them.
pub fn arrow(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let (format, options) = (format(*look), decode::Options::default());
    let wanted = wanted(*look, &format);
    read_some(decode::arrow(Cursor::new(data.to_vec()), &format, &options, wanted), wanted, &format);
}

/// Columns as Parquet files hold them.
pub fn parquet(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let (format, options) = (format(*look), decode::Options::default());
    let wanted = wanted(*look, &format);
    read_some(decode::parquet(Bytes::copy_from_slice(data), &format, &options, wanted), wanted, &format);
}

/// Schema of the records of Avro below.
const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [
    {"name": "values", "type": {"type": "array", "items": ["float", "long", {"type": "array", "items": "double"}]}},
    {"name": "id", "type": ["null", "string", "long"]},
    {"name": "label", "type": ["null", "int", "string"]},
    {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": ["bytes", "string"]}}}]}"#;

/// Records of Avro, and their schemas.
pub fn avro(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    if look & 0x80 != 0 {
        let _ = std::str::from_utf8(data).map(decode::avro::Schema::parse);
        return;
    }
    let format = format(*look);
    let options = table::Options { ignore: vec!["more".into()], ..table::Options::default() };
    let schema = decode::avro::Schema::parse(SCHEMA).unwrap();
    if let Ok(record) = decode::avro::sample(data, &schema, &format, &Keys::of(&options, &format).unwrap()) {
        check(&record, &format);
    }
}

/// Records of CIFAR-10 and CIFAR-100.
pub fn cifar(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let classes = [10, 20, 100][usize::from(look % 3)];
    let mut format = format(*look);
    format.shape = decode::cifar::SHAPE;
    format.classes = (0..classes).map(|class| class.to_string()).collect();
    read_all(decode::cifar(Cursor::new(data.to_vec()), &format), data, &format);
}

/// Rows of numbers; the second byte says which columns are class and id, and what is between columns.
pub fn csv(data: &[u8]) {
    let [look, columns, data @ ..] = data else { return };
    let column =
        |bits: u8| [None, Some(0), Some(-1), Some(i64::MIN)][usize::from(bits % 4)].map(Column::Place);
    let options = table::Options {
        class: column(*columns),
        id: column(columns >> 2),
        delimiter: [',', ';', '\t', ' '][usize::from(columns >> 4) % 4],
        ..table::Options::default()
    };
    let format = format(*look);
    read_all(Ok(decode::csv(Cursor::new(data.to_vec()), &format, &options, |_| {})), data, &format);
}

/// Arrays in LeCun's format.
pub fn idx(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let format = format(*look);
    read_all(decode::idx(Cursor::new(data.to_vec()), &format), data, &format);
    read_labels(decode::idx::labels(data), data);
}

/// Arrays in NumPy's format.
pub fn npy(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let format = format(*look);
    read_all(decode::npy(Cursor::new(data.to_vec()), &format), data, &format);
    read_labels(decode::npy::labels(data), data);
}

/// Lines of samples, as files, pipes and requests hold them.
pub fn ndjson(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let format = format(*look);
    read_all(Ok(decode::ndjson(Cursor::new(data.to_vec()), &format, Keys::default())), data, &format);
}

/// JSON: one sample, and an array of them as the body of a request.
pub fn json(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let format = format(*look);
    let keys = keys(*look, &format);
    if let Ok(record) = decode::json::sample(data, &format, &keys) {
        check(&record, &format);
    }
    let mut count = 0;
    let read = decode::json::samples(data, &format, &keys, |record| {
        check(&record, &format);
        count += 1;
        if count < MOST_SAMPLES { Ok(()) } else { Err("enough".into()) }
    });
    if let Err((number, _)) = read {
        assert!(number <= count + 1 && count <= data.len());
    }
}

/// Returns the keys of samples as objects, with names for the features or without.
fn keys(look: u8, format: &Format) -> Keys {
    let names = (0..format.shape.len()).map(|at| Column::Name(format!("x{}.{at}", at % 2)));
    let features = if look & 0x40 == 0 { Vec::new() } else { names.collect() };
    Keys::of(&table::Options { features, ..table::Options::default() }, format).unwrap()
}

/// Images.
pub fn image(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let channels = if look & 1 == 0 { 1 } else { 3 };
    let shape = Shape::Image { channels, height: 8, width: 8 };
    let format = Format { shape, ..format(*look) };
    let options = decode::Options { resize: look & 2 != 0, ..decode::Options::default() };
    if let Ok(values) = decode::image(data, &format, &options) {
        check(&Record { id: None, values, class: None }, &format);
    }
}

/// Archives of samples. Checksums of headers are set right, so that damage gets further, if the first byte says so.
pub fn tar(data: &[u8]) {
    let Some((look, data)) = data.split_first() else { return };
    let (format, mut data) = (format(*look), data.to_vec());
    if look & 16 != 0 {
        let headers = data.chunks_exact_mut(512).enumerate();
        for (_, header) in headers.filter(|(at, block)| *at == 0 || block[257..].starts_with(b"ustar")) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let options = decode::Options::default();
    let open = || decode::tar(Cursor::new(data.clone()), &format, &options);
    let mut skipped = open();
    assert!(skipped.skip(1 << 20).is_err(), "an archive of a few bytes has fewer samples");
    read_all(Ok(open()), &data, &format);
}

/// A packed body of a request.
pub fn packed(data: &[u8]) {
    const MOST: usize = 1 << 16;
    let Some((how, data)) = data.split_first() else { return };
    let coding = decode::packed::CODINGS[usize::from(*how) % decode::packed::CODINGS.len()];
    if let Ok(plain) = decode::packed::body(coding, data.to_vec(), MOST) {
        assert!(plain.len() <= MOST);
    }
}

/// Labels in the body of a request: one after the other, or an array of them.
pub fn labels(data: &[u8]) {
    let classes = format(0).classes;
    let class = |label: LabelMessage| label.class.map(|name| decode::class(&classes, &name));
    if let Ok(labels) = serde_json::from_slice::<Vec<LabelMessage>>(data) {
        assert!(labels.len() <= data.len());
        labels.into_iter().for_each(|label| drop(class(label)));
    }
    let labels = serde_json::Deserializer::from_slice(data).into_iter::<LabelMessage>();
    labels.map_while(Result::ok).for_each(|label| drop(class(label)));
}

/// The first bytes of a connection: preamble and hello, or a reply.
pub fn hello(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    match how % 3 {
        0 => records(data, HELLO_BYTES, |body| drop(protocol::decode::<Hello>(body))),
        1 => same::<Hello>(data),
        _ => same::<Reply>(data),
    }
}

/// Frames of samples, as a stream of records or as the body of one.
pub fn frame(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    match how % 2 {
        0 => records(data, LONGEST_FRAME, |body| drop(protocol::decode::<Frame>(body))),
        _ => same::<Frame>(data),
    }
}

/// Reads a preamble, then records of at most `most` bytes.
fn records(mut data: &[u8], most: usize, mut take: impl FnMut(&[u8])) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut body = Vec::new();
    runtime.block_on(async {
        if protocol::read_preamble(&mut data).await.is_err() {
            return;
        }
        while let Ok(true) = protocol::read_record(&mut data, most, &mut body).await {
            assert!(body.len() <= most);
            take(&body);
        }
    });
}

/// Checks that what is decoded is what was sent.
fn same<T: serde::de::DeserializeOwned + serde::Serialize>(body: &[u8]) {
    const HEAD_BYTES: usize = 8;
    if let Ok(content) = protocol::decode::<T>(body) {
        assert_eq!(&protocol::record(&content)[HEAD_BYTES..], body);
    }
}

fn format(look: u8) -> Format {
    let shape = match look % 3 {
        0 => Shape::Vector { features: 2 },
        1 => Shape::Image { channels: 1, height: 2, width: 2 },
        _ => Shape::Image { channels: 3, height: 2, width: 1 },
    };
    let dtype = if look & 4 == 0 { Dtype::U8 } else { Dtype::F32 };
    let classes = if look & 8 == 0 { vec!["cat".into(), "dog".into()] } else { Vec::new() };
    Format { shape, dtype, scale: 1.0, classes }
}

/// Reads records to the end. Each takes at least one byte, so there is an end.
fn read_all(records: Result<impl Records, DecodeError>, data: &[u8], format: &Format) {
    let Ok(mut records) = records else { return };
    for _ in 0..=data.len() {
        match records.next_record() {
            Ok(Some(record)) => check(&record, format),
            Err(DecodeError::Bad { text, .. }) => assert!(text.len() <= 3 * data.len()),
            Ok(None) | Err(DecodeError::Broken(_)) => return,
        }
    }
    panic!("more records than bytes");
}

fn wanted(look: u8, format: &Format) -> Wanted {
    if look & 16 == 0 { Wanted::Values(format.shape.len()) } else { Wanted::Classes }
}

/// Reads the first records: a few bytes may hold many.
fn read_some(records: Result<impl Records, DecodeError>, wanted: Wanted, format: &Format) {
    let Ok(mut records) = records else { return };
    if format.classes.is_empty() && records.skip(1).is_err() {
        return;
    }
    for _ in 0..MOST_SAMPLES {
        match records.next_record() {
            Ok(Some(record)) if wanted == Wanted::Classes => assert!(record.values.is_empty()),
            Ok(Some(record)) => check(&record, format),
            Err(DecodeError::Bad { .. }) => {}
            Err(DecodeError::Broken(reason)) => {
                assert!(!reason.contains("the thread that reads the columns has failed"), "{reason}");
                return;
            }
            Ok(None) => return,
        }
    }
}

/// Reads labels to the end. Each takes at least one byte.
fn read_labels(labels: Result<Labels<&[u8]>, DecodeError>, data: &[u8]) {
    let Ok(mut labels) = labels else { return };
    while labels.next_label().is_ok() {
        assert!(labels.read() <= data.len());
    }
}

fn check(record: &Record, format: &Format) {
    assert_eq!((record.values.len(), record.values.dtype()), (format.shape.len(), format.dtype));
    if let Values::F32(values) = &record.values {
        assert!(values.iter().all(|value| value.is_finite()));
    }
    assert!(record.id.as_ref().is_none_or(|id| !is_given(id.key)));
    if let Some(name) = record.class.as_ref().filter(|_| !format.classes.is_empty()) {
        assert!(decode::class(&format.classes, name).is_ok());
    }
}
