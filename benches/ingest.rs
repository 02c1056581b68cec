//! Claim: a feeder on this machine brings at least 200 MB/s of 3 kB samples into the write-ahead
//! log of an idle job (`os`), and with `fsync` at least 60 % of that or of the disk's rate for the
//! same bytes, whichever is less. 64 feeders of a job that reads ten times too slowly progress
//! evenly (most to least acknowledged: at most 2), in bounded memory.
//!
//!     cargo bench --bench ingest [-- FOLDER_ON_THE_DISK]

#![allow(missing_docs)]
mod allocator;

use sluicebox_client::feed::connection::{Connection, Job};
use sluicebox_core::sample::Block;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::decode::Missing;
use sluicebox_stream::ingest::Ingest;
use sluicebox_stream::ingest::IngestContext;
use sluicebox_stream::protocol::{Reply, write_frame};
use sluicebox_stream::source::tcp::{Listener, Settings};
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::{Durability, LogSettings};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

/// Bytes per sample: 3 × 32 × 32 pixels.
const SAMPLE: usize = 3072;
/// Samples per frame of about 1 MB.
const FRAME: usize = 341;
/// Frames per round: 268 MB.
const FRAMES: u64 = 256;
const ROUNDS: usize = 5;
/// Bytes after which the plain file is synchronised.
const SYNC: usize = 4 << 20;

const FEEDERS: usize = 64;
/// Samples per frame where there are many feeders: 64 KiB.
const SMALL_FRAME: usize = 21;
const SLOW_FOR: Duration = Duration::from_secs(30);

fn main() {
    allocator::keep_freed_memory();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("the folder can be written to");
    println!("MB/s of {SAMPLE}-byte samples, {FRAME} a frame; medians of {ROUNDS} rounds of 268 MB\n");
    let (mut os, mut fsync, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = |name: &str| folder.path().join(format!("{name}-{round}"));
        disk.push(plain(&path("plain")));
        os.push(one_feeder(&path("os"), Durability::Os));
        fsync.push(one_feeder(&path("fsync"), Durability::Fsync));
    }
    let (os, fsync, disk) = (median(os), median(fsync), median(disk));
    println!("one feeder, os          {os:>7.0}");
    println!(
        "one feeder, fsync       {fsync:>7.0}  ({:.2} of os, {:.2} of the disk)",
        fsync / os,
        fsync / disk
    );
    println!("write + fdatasync       {disk:>7.0}  (after each {} MiB)", SYNC >> 20);
    many_feeders(&folder.path().join("many"), os / 10.0);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn block(samples: usize) -> Block {
    let bytes = (0..samples * SAMPLE).map(|at| ((at * 2654435761) >> 7) as u8).collect();
    Block { bytes, ..Block::default() }
}

/// Returns the rate of the disk in MB/s.
fn plain(path: &Path) -> f64 {
    let bytes = block(FRAME).bytes;
    let mut file = std::fs::File::create(path).expect("the file can be made");
    let start = Instant::now();
    let mut unsynced = 0;
    for _ in 0..FRAMES {
        file.write_all(&bytes).expect("the file can be written");
        unsynced += bytes.len();
        if unsynced >= SYNC {
            file.sync_data().expect("the file can be synchronised");
            unsynced = 0;
        }
    }
    file.sync_data().expect("the file can be synchronised");
    let rate = FRAMES as f64 * bytes.len() as f64 / 1e6 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("the file can be removed");
    rate
}

/// A job that only listens.
struct Idle {
    live: IngestContext,
    listener: Listener,
    _runtime: Runtime,
}

fn idle(path: &Path, log: &LogSettings) -> Idle {
    let classes = vec!["no".to_string(), "yes".to_string()];
    let shape = Shape::Image { channels: 3, height: 32, width: 32 };
    let format = Format { shape, dtype: Dtype::U8, scale: 1.0, classes: classes.clone() };
    let settings = Settings {
        listen: "127.0.0.1:0".into(),
        shape: vec![3, 32, 32],
        dtype: Dtype::U8,
        scale: None,
        classes,
        missing: Missing::default(),
        max_clients: 256,
        max_frame_bytes: 4 << 20,
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let log = Wal::open(path, "bench", log).expect("a log");
    let ingest = Arc::new(Ingest::new(log, format, 1).expect("a gate"));
    let live =
        IngestContext { ingest, runtime: runtime.handle().clone(), access: Arc::new(Access::default()) };
    let listener = Listener::start(&live, 0, &settings).expect("a listener");
    Idle { live, listener, _runtime: runtime }
}

fn feeder(job: &Idle, client: &str) -> Job {
    Job::new(&job.listener.address().to_string(), client, None, None).expect("a good address")
}

/// Connects, waits at `start`, sends `block` until `go_on` returns false, and receives until
/// everything is acknowledged.
async fn feed(
    job: Job,
    block: &Block,
    start: &Barrier,
    acknowledged: &AtomicU64,
    go_on: impl Fn(u64) -> bool,
) {
    let Ok(Connection { mut reader, mut writer, .. }) = job.connect().await else { panic!("not accepted") };
    start.wait().await;
    let count = (block.bytes.len() / SAMPLE) as u64;
    let sending = async {
        let mut sent = 0;
        while go_on(sent) {
            write_frame(&mut writer, sent, block).await.expect("it is sent");
            sent += count;
        }
        writer.flush().await.expect("it is sent");
        sent
    };
    let hearing = async {
        while let Ok(Reply::Ack(ack)) = reader.reply().await {
            acknowledged.store(ack.samples, Ordering::Relaxed);
            if !go_on(ack.samples) {
                break;
            }
        }
    };
    tokio::join!(sending, hearing);
}

/// Returns MB/s from the first byte to the last acknowledgement.
fn one_feeder(path: &Path, durability: Durability) -> f64 {
    let job = idle(path, &LogSettings { durability, ..LogSettings::default() });
    let block = block(FRAME);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let acknowledged = AtomicU64::new(0);
    let all = FRAMES * FRAME as u64;
    let feeder = feeder(&job, "bench");
    let start = Instant::now();
    runtime.block_on(feed(feeder, &block, &Barrier::new(1), &acknowledged, |samples| samples < all));
    let rate = all as f64 * SAMPLE as f64 / 1e6 / start.elapsed().as_secs_f64();
    assert_eq!(acknowledged.into_inner(), all);
    job.live.ingest.log().close();
    drop(job);
    std::fs::remove_dir_all(path).expect("the log can be removed");
    rate
}

fn many_feeders(path: &Path, mb_per_s: f64) {
    let job = idle(path, &LogSettings { max_bytes: 256 << 20, ..LogSettings::default() });
    let block = block(SMALL_FRAME);
    let acknowledged: Vec<Arc<AtomicU64>> = (0..FEEDERS).map(|_| Arc::default()).collect();
    let over = Arc::new(AtomicBool::new(false));
    let all_there = Arc::new(Barrier::new(FEEDERS));
    // Resets the peak of resident memory.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = peak_mib();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for (who, acknowledged) in acknowledged.iter().enumerate() {
        let (feeder, block) = (feeder(&job, &format!("feeder {who}")), block.clone());
        let (acknowledged, over, all_there) = (acknowledged.clone(), over.clone(), all_there.clone());
        let going = move |_| !over.load(Ordering::Relaxed);
        runtime.spawn(async move { feed(feeder, &block, &all_there, &acknowledged, going).await });
    }
    slow_reader(&job, mb_per_s);
    over.store(true, Ordering::Relaxed);
    runtime.shutdown_background();
    let counts = || acknowledged.iter().map(|count| count.load(Ordering::Relaxed));
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    println!(
        "\n{FEEDERS} feeders, a reader of {mb_per_s:.0} MB/s, a log of 256 MiB, {} s",
        SLOW_FOR.as_secs()
    );
    println!("acknowledged            {least} to {most} samples each: {:.2}", most as f64 / least as f64);
    println!("peak memory             {} MiB, {before} MiB before", peak_mib());
    println!("in the log at the end   {} MiB", job.live.ingest.log().fill().bytes >> 20);
}

/// Reads at `mb_per_s`, and trims the log behind it.
fn slow_reader(job: &Idle, mb_per_s: f64) {
    let log = job.live.ingest.log();
    let mut reader = log.reader(0, 0);
    let (start, mut bytes) = (Instant::now(), 0.0);
    while start.elapsed() < SLOW_FOR {
        if bytes / 1e6 > mb_per_s * start.elapsed().as_secs_f64() {
            std::thread::sleep(Duration::from_millis(1));
        } else if let Some((sequence, payload)) = reader.read().expect("the log is whole") {
            bytes += payload.len() as f64;
            if sequence % 64 == 0 {
                log.trim(sequence).expect("the log can be trimmed");
            }
        }
    }
}

/// Returns the peak of this process's resident memory, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
