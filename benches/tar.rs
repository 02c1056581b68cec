//! Goal: samples of a WebDataset are read at least twice as fast as Python's `webdataset` reads them, and images in a folder
//! as Pillow does, and memory does not depend on the archive: 10 GB of it take less than 400 MiB. Each is read in one thread
//! beside one process, and an archive also on all cores, as jobs read it, beside one process of Python per core.
//!
//!     SLUICEBOX_PYTHON=PYTHON cargo bench --bench tar [-- FOLDER [SET…]]
//!
//! The images are written to FOLDER, or to a folder that is deleted. A SET is called like its archive, `png-224.tar`;
//! `stream` is that of 10 GB; without one all are read. Skipped where neither that Python nor `python3` has webdataset and
//! Pillow.

#![allow(missing_docs)]
mod allocator;
mod idle;

use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::decode::{self, DecodeError, Options, Records, Run};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 5;
/// Kinds of the images (`photo`: JPEG of photographs), their sides, how many there are of each, and how they are kept: an archive, or a folder.
const SETS: [(&str, usize, usize, &str); 9] = [
    ("png", 32, 20_000, ".tar"),
    ("png", 96, 5_000, ".tar"),
    ("png", 96, 5_000, ".tar.gz"),
    ("png", 224, 1_000, ".tar"),
    ("png", 224, 1_000, ".tar.gz"),
    ("jpg", 96, 5_000, ".tar"),
    ("jpg", 224, 2_000, ".tar"),
    ("photo", 224, 2_000, ".tar"),
    ("png", 224, 1_000, ""),
];
/// The set that is also read as one long stream.
const STREAM: &str = "png-96.tar";
/// Bytes of the archive that is read without a file.
const STREAM_BYTES: u64 = 10_000_000_000;

fn main() {
    allocator::keep_freed_memory();
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let kept = tempfile::tempdir().expect("a folder for the archives");
    let folder = named.next().map_or(kept.path().to_path_buf(), Into::into);
    let sets: Vec<String> = named.collect();
    let is_wanted = |name: &str| sets.is_empty() || sets.iter().any(|set| set == name);
    let python = std::env::var("SLUICEBOX_PYTHON").unwrap_or("python3".into());
    let mut theirs = Command::new(&python)
        .args(["benches/pytorch/tar.py", folder.to_str().expect("a name")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut ask = theirs.stdin.take().expect("it was asked for");
    let mut answers = BufReader::new(theirs.stdout.take().expect("it was asked for")).lines();
    let mut answer = |question: String| {
        writeln!(ask, "{question}").ok()?;
        answers.next()?.ok()
    };
    match answer("hello".into()).as_deref() {
        Some("hello") => measure(&folder, &is_wanted, &mut answer),
        _ => println!("skipped: no Python with webdataset and Pillow (name one in SLUICEBOX_PYTHON)"),
    }
    drop(ask);
    theirs.wait().expect("Python ends");
}

fn measure(
    folder: &Path,
    is_wanted: &dyn Fn(&str) -> bool,
    answer: &mut dyn FnMut(String) -> Option<String>,
) {
    println!("{}", idle::told());
    println!("samples/s, medians of {ROUNDS} alternating rounds; in one thread each, then on all cores\n");
    println!(
        "{:<28} {:>10} {:>9} {:>6} {:>10} {:>9} {:>6}",
        "images", "sluicebox", "Python", "ratio", "all cores", "", ""
    );
    for (kind, side, count, ending) in SETS {
        let set = format!("{kind}-{side}{ending}");
        if !is_wanted(&set) {
            continue;
        }
        let path = folder.join(&set);
        if !path.exists() {
            let written = answer(format!("write {kind} {side} {count} {}", path.display()));
            assert_eq!(written.as_deref(), Some("written"), "Python writes {set}");
        }
        let how = if ending.is_empty() { " in a folder" } else { ending };
        print!("{:<28}", format!("{count} {kind} {side}×{side} {}", how.trim()));
        let ways: &[(&str, Way)] = match ending {
            "" => &[("read", one_by_one)],
            _ => &[("read", one_by_one), ("read-on-all-cores", in_runs)],
        };
        for (question, way) in ways {
            let (mut ours, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(rate(&path, side, count, *way));
                let theirs = answer(format!("{question} {count} {}", path.display())).expect("an answer");
                others.push(theirs.parse::<f64>().expect("a number"));
                ratios.push(ours[ours.len() - 1] / others[others.len() - 1]);
            }
            print!(" {:>10.0} {:>9.0} {:>6.2}", median(ours), median(others), median(ratios));
        }
        println!();
    }
    println!("{}", idle::told());
    if is_wanted("stream") {
        stream(&folder.join(STREAM));
    }
}

/// Reads an archive again and again as one, for its memory.
fn stream(path: &Path) {
    let Ok(archive) = std::fs::read(path) else { return println!("skipped: {STREAM} was not written") };
    let (before, began, size) = (peak_mib(), Instant::now(), archive.len() as u64);
    let rounds = STREAM_BYTES.div_ceil(size);
    let input = Again { content: Cursor::new(archive), rounds };
    let mut records = decode::tar(input, &format(96), &Options::default());
    let count = one_by_one(&mut records, true);
    println!(
        "\n{count} samples of one stream of {:.1} GB in {:.0} s: peak memory {:.0} MiB, {before:.0} before, with the {} MiB \
         that are read again and again",
        (rounds * size) as f64 / 1e9,
        began.elapsed().as_secs_f64(),
        peak_mib(),
        size >> 20,
    );
}

/// Content that is read again and again, as one.
struct Again {
    content: Cursor<Vec<u8>>,
    rounds: u64,
}

impl Read for Again {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.content.read(buffer)?;
        if got > 0 || self.rounds <= 1 {
            return Ok(got);
        }
        self.rounds -= 1;
        self.content.set_position(0);
        self.content.read(buffer)
    }
}

fn format(side: usize) -> Format {
    let classes = (0..10).map(|class| class.to_string()).collect();
    let shape = Shape::Image { channels: 3, height: side, width: side };
    Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes }
}

/// Reads all records, which have a class or not, and returns how many there are.
type Way = fn(&mut dyn Records, bool) -> usize;

fn rate(path: &Path, side: usize, count: usize, way: Way) -> f64 {
    let (format, began) = (format(side), Instant::now());
    let read_one = |path: &Path, classed| {
        let mut records = decode::open(path, &format, &Options::default()).expect("it was written");
        way(&mut *records, classed)
    };
    let found: usize = match path.is_dir() {
        false => read_one(path, true),
        true => {
            let files = std::fs::read_dir(path).expect("it was written");
            let mut files: Vec<_> = files.map(|file| file.expect("a name").path()).collect();
            files.sort();
            files.iter().map(|file| read_one(file, false)).sum()
        }
    };
    assert_eq!(found, count);
    count as f64 / began.elapsed().as_secs_f64()
}

/// As jobs read: what comes next is decoded on all cores.
fn in_runs(records: &mut dyn Records, classed: bool) -> usize {
    let (mut run, mut count) = (Run::none(Dtype::U8), 0);
    loop {
        run.clear();
        let found = records.next_run(256, &mut run);
        count += found;
        if found == 0 {
            return count + one_by_one(records, classed);
        }
    }
}

fn one_by_one(records: &mut dyn Records, classed: bool) -> usize {
    let mut count = 0;
    loop {
        match records.next_record() {
            Ok(Some(record)) => {
                assert_eq!(record.class.is_some(), classed);
                count += 1;
            }
            Ok(None) => return count,
            Err(DecodeError::Bad { reason, .. } | DecodeError::Broken(reason)) => panic!("{reason}"),
        }
    }
}

/// Returns the largest memory of the process so far, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
