//! Guarantees of the write-ahead log: acknowledged records survive a SIGKILL, in order and whole;
//! the log is bounded and feeders wait their turn; damage and full disks are reported.

#![allow(missing_docs)]

use sluicebox_stream::wal::settings::{Durability, LogSettings as Settings};
use sluicebox_stream::wal::{Entry, Reader, Wal};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn settings(max_bytes: usize) -> Settings {
    Settings { max_bytes: max_bytes as u64, ..Settings::default() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Returns a record that holds its writer and its number; the other bytes follow from these.
fn entry(stream: u16, who: u64, count: u64, bytes: usize) -> Entry {
    let mut payload = [who.to_le_bytes(), count.to_le_bytes()].concat();
    payload.resize(bytes.max(16), (who * 31 + count) as u8);
    Entry { stream, payload, mark: None }
}

fn parts(payload: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
    let (who, count) = (number(0), number(8));
    assert!(payload[16..].iter().all(|byte| *byte == (who * 31 + count) as u8), "the bytes are others");
    (who, count)
}

fn all(mut reader: Reader) -> Vec<(u64, Vec<u8>)> {
    std::iter::from_fn(|| reader.read().unwrap()).map(|(at, payload)| (at, payload.to_vec())).collect()
}

/// Waits until all earlier requests to the log are done.
fn settle(runtime: &Runtime, log: &Wal) {
    runtime.block_on(log.append_now(Vec::new()).unwrap().durable()).unwrap();
}

fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(inside) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |file| file.blocks() * 512);
    };
    inside.map(|entry| disk_bytes(&entry.unwrap().path())).sum()
}

#[test]
fn what_is_acknowledged_is_readable_and_nothing_before_it_is_missing() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    for durability in [Durability::Os, Durability::Fsync] {
        let path = folder.path().join(format!("{durability:?}"));
        let log = Wal::open(&path, "", &Settings { durability, ..settings(64 * MIB) }).unwrap();
        let feeders = (0..16).map(|who| {
            let log = log.clone();
            runtime.spawn(async move {
                for count in 0..20 {
                    let entries = vec![entry(who as u16 % 3, who, 2 * count, 100), entry(7, who, count, 5)];
                    let first = log.append(entries).await.unwrap();
                    let (at, payload) = log.reader(who as u16 % 3, first).read().unwrap().unwrap();
                    assert_eq!((at, parts(&payload)), (first, (who, 2 * count)));
                    let (at, payload) = log.reader(7, first).read().unwrap().unwrap();
                    assert_eq!((at, parts(&payload)), (first + 1, (who, count)));
                }
            })
        });
        let feeders: Vec<_> = feeders.collect();
        feeders.into_iter().for_each(|feeder| runtime.block_on(feeder).unwrap());
        let mut sequences: Vec<u64> = [0, 1, 2, 7]
            .into_iter()
            .flat_map(|stream| all(log.reader(stream, 0)))
            .map(|(at, _)| at)
            .collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (0..640).collect::<Vec<u64>>());
    }
}

/// Appends for ever, and prints each acknowledged record: writer, number and sequence number. Runs
/// in a separate process, which is killed.
#[test]
#[ignore = "a part of the test below"]
fn appends_until_killed() {
    let folder = PathBuf::from(std::env::var("LOG_FOLDER").unwrap());
    let durability = match std::env::var("LOG_DURABILITY").unwrap() == "fsync" {
        true => Durability::Fsync,
        false => Durability::Os,
    };
    let log = Wal::open(&folder, "", &Settings { durability, ..settings(8 * MIB) }).unwrap();
    let runtime = runtime();
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    for stream in 0..2 {
        for (_, payload) in all(log.reader(stream, 0)) {
            let (who, count) = parts(&payload);
            next.insert(who, count + 1);
        }
    }
    let marks = |who: u64| log.mark(&who.to_be_bytes()).unwrap();
    for who in 0..8 {
        let (log, marked) = (log.clone(), marks(who));
        let mut count = marked.map_or(0, |mark| u64::from_be_bytes(mark.try_into().unwrap()) + 1);
        assert!(next.get(&who).is_none_or(|next| *next == count), "a mark parted from its record");
        runtime.spawn(async move {
            loop {
                let bytes = (1 + who as usize * count as usize % 7) * 3000;
                let mark = Some((who.to_be_bytes().to_vec(), count.to_be_bytes().to_vec()));
                let entries = vec![Entry { mark, ..entry(who as u16 % 2, who, count, bytes) }];
                let sequence = log.append(entries).await.unwrap();
                writeln!(std::io::stdout().lock(), "\nacknowledged {who} {count} {sequence}").unwrap();
                count += 1;
            }
        });
    }
    let mut reader = log.reader(0, 0);
    loop {
        match reader.read().unwrap() {
            Some(_) => {}
            None => {
                log.trim(reader.position().saturating_sub(200)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    for durability in ["os", "fsync"] {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..8 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["write_ahead_log::appends_until_killed", "--exact", "--ignored", "--nocapture"])
                .env("LOG_FOLDER", folder.path())
                .env("LOG_DURABILITY", durability)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut acknowledged = Vec::new();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let keep = |line: &str, acknowledged: &mut Vec<(u64, u64, u64)>| {
                let numbers = line.strip_prefix("acknowledged ")?;
                let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                acknowledged.push((numbers[0], numbers[1], numbers[2]));
                Some(())
            };
            while acknowledged.len() < 100 + 237 * round {
                let line = lines.next().expect("the child goes on until it is killed").unwrap();
                keep(&line, &mut acknowledged);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            lines
                .map_while(Result::ok)
                .filter(|line| line.ends_with(|end: char| end.is_ascii_digit()))
                .for_each(|line| {
                    keep(&line, &mut acknowledged);
                });
            check(folder.path(), &acknowledged);
        }
    }
}

/// Checks that the log has no gaps, keeps each feeder's order, and holds all records that were
/// acknowledged and not trimmed.
fn check(folder: &Path, acknowledged: &[(u64, u64, u64)]) {
    let log = Wal::open(folder, "", &settings(8 * MIB)).unwrap();
    let mut records: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for stream in 0..2 {
        for (sequence, payload) in all(log.reader(stream, 0)) {
            assert!(records.insert(sequence, parts(&payload)).is_none());
        }
    }
    let oldest = *records.keys().next().unwrap();
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), (oldest..log.durable()).collect::<Vec<_>>());
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (who, count) in records.values() {
        let before = last.insert(*who, *count);
        assert!(before.is_none_or(|before| before + 1 == *count), "{who}: {count} after {before:?}");
    }
    for (who, count, sequence) in acknowledged {
        assert!(*sequence < oldest || records[sequence] == (*who, *count), "{who} {count} {sequence}");
    }
    log.close();
}

#[test]
fn a_full_log_lets_feeders_wait_until_it_is_trimmed() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(MIB)).unwrap();
    let mut count = 0;
    while log.has_room(100 * KIB) {
        runtime.block_on(log.append(vec![entry(0, 0, count, 100 * KIB - 64)])).unwrap();
        count += 1;
    }
    assert_eq!(count, 10);
    assert_eq!(log.fill().bytes as usize, 1000 * KIB);
    let waiting = |log: &Wal| {
        let log = log.clone();
        runtime.spawn(async move { log.append(vec![entry(0, 0, 10, 100 * KIB - 64)]).await })
    };
    let feeder = waiting(&log);
    // Labels do not wait, but their bytes count.
    for label in 0..100 {
        let pending = log.append_now(vec![entry(1, 1, label, KIB - 64)]).unwrap();
        runtime.block_on(pending.durable()).unwrap();
    }
    assert!(!feeder.is_finished());
    assert_eq!(log.fill().bytes as usize, 1100 * KIB);
    assert!(log.fill().is_half_full());
    assert_eq!([0, 1, 5].map(|before| log.frees(before) as usize), [0, 100 * KIB, 500 * KIB]);
    log.trim(5).unwrap();
    settle(&runtime, &log);
    assert_eq!(runtime.block_on(feeder).unwrap().unwrap(), 110);
    // Trimming frees every byte, also after a restart with a log that is over its limit.
    log.close();
    drop(log);
    let log = Wal::open(folder.path(), "", &settings(MIB / 2)).unwrap();
    assert!(!log.has_room(1));
    let feeder = waiting(&log);
    settle(&runtime, &log);
    assert!(!feeder.is_finished());
    assert_eq!(log.frees(log.durable()), log.fill().bytes);
    log.trim(log.durable()).unwrap();
    assert_eq!(runtime.block_on(feeder).unwrap().unwrap(), 111);
    log.trim(log.durable()).unwrap();
    settle(&runtime, &log);
    assert_eq!(log.fill().bytes, 0);
    for _ in 0..2 {
        assert!(log.has_room(MIB / 4));
        runtime.block_on(log.append(vec![entry(0, 0, 0, MIB / 4 - 64)])).unwrap();
    }
    assert!(!log.has_room(1));
    // A waiting feeder gets an error when the log is closed.
    let feeder = waiting(&log);
    settle(&runtime, &log);
    log.close();
    let told = runtime.block_on(feeder).unwrap().unwrap_err().to_string();
    assert!(told.contains("closed"), "{told}");
}

#[test]
fn an_appender_that_goes_away_takes_no_room_with_it() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(MIB)).unwrap();
    let append = |count, bytes| {
        let log = log.clone();
        runtime.spawn(async move { log.append(vec![entry(0, 0, count, bytes - 64)]).await })
    };
    runtime.block_on(append(0, 400 * KIB)).unwrap().unwrap();
    runtime.block_on(append(1, 400 * KIB)).unwrap().unwrap();
    let feeder = append(2, 300 * KIB);
    settle(&runtime, &log);
    feeder.abort();
    assert!(runtime.block_on(feeder).unwrap_err().is_cancelled());
    runtime.block_on(append(2, 224 * KIB)).unwrap().unwrap();
    assert!(!log.has_room(1));
}

#[test]
fn more_than_half_of_the_log_at_once_is_refused() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(MIB)).unwrap();
    let told = runtime.block_on(log.append(vec![entry(0, 0, 0, MIB / 2)])).unwrap_err().to_string();
    assert!(told.contains("half of log.max_bytes") && told.contains("less at a time"), "{told}");
    assert!(log.has_room(2 * MIB), "it would be refused, not wait");
    assert_eq!(runtime.block_on(log.append(vec![entry(0, 0, 0, MIB / 2 - 64)])).unwrap(), 0);
}

#[test]
fn a_log_that_is_too_old_lets_feeders_wait_until_it_is_trimmed() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let settings = Settings { max_age: Some(Duration::from_millis(20)), ..settings(MIB) };
    let log = Wal::open(folder.path(), "", &settings).unwrap();
    assert!(log.has_room(1), "an empty log has no age");
    log.append_now(vec![entry(0, 0, 0, 16)]).unwrap();
    settle(&runtime, &log);
    std::thread::sleep(Duration::from_millis(25));
    assert!(!log.has_room(1));
    assert!(log.fill().age >= Duration::from_millis(20) && log.fill().is_half_full());
    let waiting = log.clone();
    let feeder = runtime.spawn(async move { waiting.append(vec![entry(0, 0, 1, 16)]).await });
    settle(&runtime, &log);
    assert!(!feeder.is_finished());
    // The age of records survives a restart.
    log.close();
    runtime.block_on(feeder).unwrap().unwrap_err();
    drop(log);
    let log = Wal::open(folder.path(), "", &settings).unwrap();
    assert!(!log.has_room(1));
    let waiting = log.clone();
    let feeder = runtime.spawn(async move { waiting.append(vec![entry(0, 0, 1, 16)]).await });
    log.trim(1).unwrap();
    assert_eq!(runtime.block_on(feeder).unwrap().unwrap(), 1);
}

#[test]
fn who_waits_is_served_in_turn() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(MIB)).unwrap();
    let served: Vec<Arc<AtomicU64>> = (0..64).map(|_| Arc::default()).collect();
    let feeders = served.iter().enumerate().map(|(who, served)| {
        let (log, served) = (log.clone(), served.clone());
        // Some send much at a time, others little.
        let bytes = if who % 2 == 0 { 60 * KIB } else { KIB };
        runtime.spawn(async move {
            for count in 0.. {
                if log.append(vec![entry(0, who as u64, count, bytes)]).await.is_err() {
                    return;
                }
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let feeders: Vec<_> = feeders.collect();
    let mut reader = log.reader(0, 0);
    let mut records = 0;
    while records < 64 * 30 {
        while reader.read().unwrap().is_some() {
            records += 1;
            log.trim(reader.position()).unwrap();
        }
        settle(&runtime, &log);
    }
    let counts: Vec<u64> = served.iter().map(|served| served.load(Ordering::Relaxed)).collect();
    log.close();
    feeders.into_iter().for_each(|feeder| runtime.block_on(feeder).unwrap());
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*most <= 2 * least, "{counts:?}");
}

#[test]
fn readers_miss_nothing_while_segments_come_and_go() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(4 * MIB)).unwrap();
    let positions: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::default()).collect();
    std::thread::scope(|scope| {
        let feeder = log.clone();
        scope.spawn(|| {
            runtime.block_on(async move {
                for count in 0..3000 {
                    let entries = (0..3).map(|stream| entry(stream, stream.into(), count, 4 * KIB)).collect();
                    feeder.append(entries).await.unwrap();
                }
            });
        });
        for (stream, mine) in (0..3).zip(&positions) {
            let (log, positions) = (log.clone(), &positions);
            scope.spawn(move || {
                let mut reader = log.reader(stream, 0);
                let mut count = 0;
                while count < 3000 {
                    let Some((_, payload)) = reader.read().unwrap() else {
                        std::thread::yield_now();
                        continue;
                    };
                    assert_eq!(parts(&payload), (stream.into(), count));
                    count += 1;
                    mine.store(reader.position(), Ordering::Relaxed);
                    let behind = positions.iter().map(|position| position.load(Ordering::Relaxed)).min();
                    log.trim(behind.unwrap()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_reader_is_told_what_it_can_no_longer_have() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(MIB)).unwrap();
    let append =
        |stream, count| runtime.block_on(log.append(vec![entry(stream, 0, count, 100 * KIB)])).unwrap();
    (0..3).for_each(|count| assert_eq!(append(0, count), count));
    let mut idle = log.reader(1, 0);
    assert!(idle.read().unwrap().is_none());
    assert_eq!(idle.position(), 3, "it is past what others wrote");
    let mut late = log.reader(0, 1);
    log.trim(3).unwrap();
    settle(&runtime, &log);
    append(0, 3);
    let told = late.read().unwrap_err().to_string();
    assert!(
        told.contains("next record to read is 1") && told.contains("up to 2 have been deleted"),
        "{told}"
    );
    // Nothing of stream 1 was lost, and a reader that starts from 0 gets what there is.
    let mut other = log.reader(1, 1);
    assert!(other.read().unwrap().is_none());
    append(1, 4);
    assert_eq!(other.read().unwrap().unwrap().0, 4);
    assert_eq!(idle.read().unwrap().unwrap().0, 4);
    assert_eq!(log.reader(0, 0).read().unwrap().unwrap().0, 3);
    log.close();
    drop((late, other, idle));
    let folder = folder.path().to_path_buf();
    drop(log);
    let log = Wal::open(&folder, "", &settings(MIB)).unwrap();
    assert!(log.reader(0, 1).read().is_err());
    assert_eq!(log.reader(0, 3).read().unwrap().unwrap().0, 3);
}

#[test]
fn trimming_frees_the_disk() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "", &settings(256 * MIB)).unwrap();
    for count in 0..160 {
        runtime.block_on(log.append(vec![entry(0, 0, count, MIB)])).unwrap();
        if count == 120 {
            log.trim(120).unwrap();
        }
    }
    // The last segments are kept as long as a journal refers to them.
    assert!(disk_bytes(&folder.path().join("keyspaces")) < 128 * MIB as u64);
    log.trim(160).unwrap();
    settle(&runtime, &log);
    log.close();
    drop(log);
    let log = Wal::open(folder.path(), "", &settings(256 * MIB)).unwrap();
    assert_eq!(log.durable(), 160, "numbers are never given twice");
    assert!(log.fill().bytes == 0 && all(log.reader(0, 0)).is_empty());
    assert!(disk_bytes(&folder.path().join("keyspaces")) < MIB as u64);
}

#[test]
fn the_log_of_another_job_or_process_is_refused() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let log = Wal::open(folder.path(), "digits", &settings(MIB)).unwrap();
    runtime.block_on(log.append(vec![entry(0, 0, 0, 16)])).unwrap();
    let told = Wal::open(folder.path(), "digits", &settings(MIB)).err().unwrap().to_string();
    assert!(told.contains("another process") && told.contains(folder.path().to_str().unwrap()), "{told}");
    log.close();
    drop(log);
    let told = Wal::open(folder.path(), "letters", &settings(MIB)).err().unwrap().to_string();
    assert!(told.contains("another job") && told.contains("--fresh"), "{told}");
    let log = Wal::open(folder.path(), "digits", &settings(MIB)).unwrap();
    assert_eq!(all(log.reader(0, 0)).len(), 1);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = inside.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    found.filter(|path| path.metadata().unwrap().len() > 0).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(std::fs::copy(&path, target).is_ok()) }
    }
}

#[test]
fn damage_is_told_and_nothing_wrong_is_read() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let whole = folder.path().join("whole");
    let log = Wal::open(&whole, "", &settings(2 * MIB)).unwrap();
    let count = 30;
    for count in 0..count {
        runtime.block_on(log.append(vec![entry(0, 0, count, 20 * KIB)])).unwrap();
    }
    log.close();
    drop(log);
    let broken = folder.path().join("broken");
    let mut told = 0;
    for file in files(&whole) {
        let file = file.strip_prefix(&whole).unwrap();
        for (what, harm) in [("cut", cut as fn(&Path)), ("changed", change), ("deleted", delete)] {
            copy(&whole, &broken);
            harm(&broken.join(file));
            let read = Wal::open(&broken, "", &settings(2 * MIB)).and_then(|log| {
                let mut reader = log.reader(0, 0);
                let mut read = Vec::new();
                while let Some((_, payload)) = reader.read()? {
                    read.push(parts(&payload).1);
                }
                Ok(read)
            });
            let place = format!("{} {what}", file.display());
            match read {
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(broken.to_str().unwrap()), "{place}: {error}");
                    assert!(error.contains("--fresh"), "{place}: {error}");
                    told += 1;
                }
                // The end of a journal may be missing, as after a crash of the machine.
                Ok(read) => {
                    println!("{place}: {} of {count} records", read.len());
                    let is_journal = place.contains(".jnl");
                    assert!(is_journal || read.len() as u64 == count, "{place}: {read:?}");
                    assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>(), "{place}");
                }
            }
            std::fs::remove_dir_all(&broken).unwrap();
        }
    }
    assert!(told > 10, "{told}");
}

fn cut(file: &Path) {
    let length = file.metadata().unwrap().len().min(400 * KIB as u64);
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length / 2).unwrap();
}

fn change(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len().min(400 * KIB) / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(file, bytes).unwrap();
}

fn delete(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

/// A small file system in memory, which only root can make.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.mount(options).then_some(disk)
    }

    fn mount(&self, options: &str) -> bool {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).output();
        mount.is_ok_and(|mount| mount.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_told_and_what_was_acknowledged_stays() {
    let Some(disk) = Disk::new("size=96m") else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let (path, runtime) = (disk.0.path().join("log"), runtime());
    let log = Wal::open(&path, "", &settings(1 << 30)).unwrap();
    let mut acknowledged = 0;
    let told = loop {
        // Feeders are held back before the disk is full; these entries do not wait.
        let pending = log.append_now(vec![entry(0, 0, acknowledged, MIB)]);
        match pending.and_then(|pending| runtime.block_on(pending.durable())) {
            Ok(sequence) => assert_eq!(sequence, acknowledged),
            Err(error) => break error.to_string(),
        }
        acknowledged += 1;
    };
    std::thread::sleep(Duration::from_secs(1));
    assert!(log.shortage().is_some());
    println!("{acknowledged} MiB, then {told}");
    assert!(told.contains(path.to_str().unwrap()) && told.contains("space"), "{told}");
    assert!(runtime.block_on(log.append(vec![entry(0, 0, 0, 16)])).is_err());
    assert!(log.trim(1).is_err());
    let count = |log: &Wal| all(log.reader(0, 0)).len() as u64;
    assert_eq!(count(&log), acknowledged);
    log.close();
    drop(log);
    if let Err(error) = Wal::open(&path, "", &settings(1 << 30)) {
        println!("opened again: {error}");
        assert!(error.to_string().contains("space"), "{error}");
    }
    assert!(disk.mount("remount,size=400m"));
    let log = Wal::open(&path, "", &settings(1 << 30)).unwrap();
    assert!(count(&log) >= acknowledged);
    runtime.block_on(log.append(vec![entry(0, 0, 0, MIB)])).unwrap();
    log.close();
    drop(log);
    assert!(disk.mount("remount,ro"));
    let told = Wal::open(&path, "", &settings(1 << 30)).err().unwrap().to_string();
    assert!(told.contains(path.to_str().unwrap()) && told.contains("ead-only"), "{told}");
}

#[test]
fn a_log_that_was_emptied_opens_again_and_again() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let open = || Wal::open(folder.path(), "", &settings(64 * MIB)).unwrap();
    let append = |log: &Wal, count| runtime.block_on(log.append(vec![entry(0, 1, count, 100)])).unwrap();
    let mut highest = 0;
    for round in 0..60 {
        let log = open();
        let next = (0..1 + round % 5).fold(0, |_, count| append(&log, count) + 1);
        log.trim(next).unwrap();
        settle(&runtime, &log);
        drop(log);
        // The library numbers keyspaces from the highest folder on, and must not give a deleted one's number again.
        let folders = std::fs::read_dir(folder.path().join("keyspaces")).unwrap();
        let numbers = folders.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok());
        let before = std::mem::replace(&mut highest, numbers.max().unwrap());
        assert!(highest > before, "round {round}: {highest} after {before}");
        let log = open();
        assert!(all(log.reader(0, 0)).is_empty(), "round {round}");
        let kept = append(&log, round);
        drop(log);
        let log = open();
        let found: Vec<u64> = all(log.reader(0, 0)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [kept], "round {round}");
        log.trim(kept + 1).unwrap();
        settle(&runtime, &log);
    }
}
