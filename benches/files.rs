//! Claim: Parquet is read at twice the samples/s of what one writes with pyarrow (`iter_batches`, `to_pandas`, `to_numpy`, and
//! Pillow for images) or more, and at about the CPU time in which pyarrow and NumPy make bare arrays of its columns; all of it
//! in less than 400 MiB however much there is.
//!
//! `benches/columns.py` writes files, reads them with pyarrow and by this program in turn, and compares. By itself:
//!
//!     cargo bench --bench files -- 'path = "FOLDER"'
//!
//! The argument holds options of the source `files`, as in a job. Reads one pass and prints one line of JSON.

#![allow(missing_docs)]
mod allocator;

use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::Samples;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress};
use std::time::Instant;

fn main() {
    allocator::keep_freed_memory();
    let Some(options) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("what is to be read? -- 'path = \"FOLDER\"'");
        return;
    };
    let mut options: toml::Table = options.parse().expect("options of the source");
    options.entry("labelled_per_class").or_insert(1.into());
    options.insert("repeat".into(), false.into());
    let spec = Spec { kind: "files".into(), options };
    let began = Instant::now();
    let build = SOURCES.find("files").expect("the source").build;
    let mut source = build(&spec, &Context { is_look: true, ..Context::default() }).expect("a source");
    let opened = began.elapsed();
    let (mut count, began) = (0, Instant::now());
    loop {
        let mut samples = Samples::none(source.format().dtype);
        let progress = source.read(1024, &mut samples).expect("samples");
        count += samples.len();
        if progress == ReadProgress::End {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0").trim();
    let peak: u64 = peak.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    println!(
        "{{\"samples\": {count}, \"opened_s\": {:.2}, \"seconds\": {seconds:.2}, \"samples_per_s\": {:.0}, \
         \"dead_letters\": {}, \"peak_mib\": {}}}",
        opened.as_secs_f64(),
        count as f64 / seconds,
        source.dead_letters(),
        peak >> 10
    );
}
