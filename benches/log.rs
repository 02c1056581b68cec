//! Claim: the write-ahead log is as fast as the disk allows, and fjall is the right store for it.
//! Compared in one process, alternating: the log (on fjall), redb, and a plain file.
//!
//!     cargo bench --bench log [-- FOLDER]
//!
//! The log takes at least 200 MB/s of 3 kB samples with durability `os`, and with `fsync` at least
//! 0.6 of the rate of a plain file with `fdatasync`.
//!
//! Meaning of an acknowledgement. `os`: the data survive the process. The log and the plain file
//! have handed them to the operating system. So has redb here, since its file is wrapped so that
//! `fsync` does nothing: its own commits without durability stay in the memory of the process and
//! do not survive it. `fsync`: the data survive the machine, with all three.

#![allow(missing_docs)]
mod allocator;

use redb::{ReadableDatabase, ReadableTable, StorageBackend};
use sluicebox_stream::wal::settings::{Durability, LogSettings as Settings};
use sluicebox_stream::wal::{Entry, Wal};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const ROUNDS: usize = 3;
/// Most bytes of a group of records, as in the log.
const GROUP: usize = 8 << 20;

/// Size, number and concurrency of records.
struct Load {
    name: &'static str,
    record_bytes: usize,
    appenders: usize,
    /// Records that each appender sends before the first of them is acknowledged.
    ahead: usize,
    /// Total number of records with `os`, and with `fsync`.
    records: [usize; 2],
}

/// The first two differ little in size, but redb stores a value in pages of a power of two: 341
/// samples of 3 kB with their ids need 2 MiB of them.
const LOADS: [Load; 4] = [
    Load {
        name: "1 appender, 1.05 MB records",
        record_bytes: 1_050_301,
        appenders: 1,
        ahead: 16,
        records: [1000, 600],
    },
    Load {
        name: "1 appender, 1.00 MB records",
        record_bytes: 1_000_000,
        appenders: 1,
        ahead: 16,
        records: [1000, 600],
    },
    Load {
        name: "1 appender, 3 kB records",
        record_bytes: 3_000,
        appenders: 1,
        ahead: 4096,
        records: [200_000, 100_000],
    },
    Load {
        name: "64 appenders, 3 kB records",
        record_bytes: 3_000,
        appenders: 64,
        ahead: 1,
        records: [200_000, 40_000],
    },
];

const STORES: [&str; 3] = ["log on fjall", "redb", "plain file"];

/// A store that takes groups of records.
trait Sink: Send {
    fn write(&mut self, group: &[Vec<u8>]);
    /// Returns the bytes of all records, read back.
    fn read(&self) -> usize;
}

struct Plain {
    path: PathBuf,
    file: File,
    fsync: bool,
}

impl Sink for Plain {
    fn write(&mut self, group: &[Vec<u8>]) {
        let bytes = group.concat();
        self.file.write_all(&bytes).expect("the disk takes it");
        if self.fsync {
            self.file.sync_data().expect("the disk takes it");
        }
    }

    fn read(&self) -> usize {
        let (mut file, mut part, mut bytes) =
            (File::open(&self.path).expect("it is there"), vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut part).expect("it can be read") {
                0 => return bytes,
                count => bytes += count,
            }
        }
    }
}

const TABLE: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("records");

struct Redb {
    database: redb::Database,
    next: u64,
}

impl Sink for Redb {
    fn write(&mut self, group: &[Vec<u8>]) {
        let transaction = self.database.begin_write().expect("it begins");
        let mut table = transaction.open_table(TABLE).expect("it opens");
        for record in group {
            table.insert(self.next, &record[..]).expect("it takes it");
            self.next += 1;
        }
        drop(table);
        transaction.commit().expect("it commits");
    }

    fn read(&self) -> usize {
        let transaction = self.database.begin_read().expect("it begins");
        let table = transaction.open_table(TABLE).expect("it opens");
        table
            .iter()
            .expect("it can be read")
            .map(|record| record.expect("it can be read").1.value().len())
            .sum()
    }
}

/// A file that never syncs: the operating system decides when to write.
#[derive(Debug)]
struct Unsynced(redb::backends::FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Takes single records: the log, or a thread that groups them for a sink as the log does.
#[derive(Clone)]
enum Client {
    Wal(Wal),
    Queue(mpsc::UnboundedSender<(Vec<u8>, oneshot::Sender<()>)>),
}

impl Client {
    async fn append(&self, payload: Vec<u8>) {
        match self {
            Client::Wal(log) => {
                log.append(vec![Entry { stream: 0, payload, mark: None }]).await.expect("the log takes it");
            }
            Client::Queue(queue) => {
                let (done, written) = oneshot::channel();
                queue.send((payload, done)).expect("the thread is there");
                written.await.expect("it is written");
            }
        }
    }
}

fn collect(
    mut sink: Box<dyn Sink>,
    mut inbox: mpsc::UnboundedReceiver<(Vec<u8>, oneshot::Sender<()>)>,
) -> Box<dyn Sink> {
    while let Some(mut request) = inbox.blocking_recv() {
        let (mut group, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            bytes += request.0.len();
            group.push(request.0);
            waiting.push(request.1);
            match inbox.try_recv() {
                Ok(next) if bytes < GROUP => request = next,
                Ok(next) => {
                    group.push(next.0);
                    waiting.push(next.1);
                    break;
                }
                Err(_) => break,
            }
        }
        sink.write(&group);
        waiting.into_iter().for_each(|done| assert!(done.send(()).is_ok()));
    }
    sink
}

/// Returns the seconds until everything is acknowledged.
fn append_all(client: &Client, load: &Load, records: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("it starts");
    let start = Instant::now();
    runtime.block_on(async {
        let mut appenders = JoinSet::new();
        for _ in 0..load.appenders {
            let (client, count, ahead) = (client.clone(), records / load.appenders, load.ahead);
            // Hardly compressible; none of the stores compresses anyway.
            let payload: Vec<u8> = (0..load.record_bytes as u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect();
            appenders.spawn(async move {
                let mut under_way = JoinSet::new();
                for _ in 0..count {
                    let (client, payload) = (client.clone(), payload.clone());
                    match ahead {
                        1 => client.append(payload).await,
                        _ => drop(under_way.spawn(async move { client.append(payload).await })),
                    }
                    while under_way.len() >= ahead {
                        under_way.join_next().await;
                    }
                }
                under_way.join_all().await;
            });
        }
        appenders.join_all().await;
    });
    start.elapsed().as_secs_f64()
}

/// Returns MB/s in, records/s in and MB/s out of one store.
fn measure(store: &str, load: &Load, fsync: bool, folder: &Path) -> [f64; 3] {
    let records = load.records[usize::from(fsync)] / load.appenders * load.appenders;
    let bytes = (records * load.record_bytes) as f64;
    let place = tempfile::tempdir_in(folder).expect("a folder can be made");
    let (seconds, read_seconds, read) = if store == STORES[0] {
        let durability = if fsync { Durability::Fsync } else { Durability::Os };
        let settings = Settings { durability, max_bytes: 8 << 30, ..Settings::default() };
        let log = Wal::open(&place.path().join("log"), "", &settings).expect("the log opens");
        let seconds = append_all(&Client::Wal(log.clone()), load, records);
        let start = Instant::now();
        let mut reader = log.reader(0, 0);
        let mut read = 0;
        while let Some((_, payload)) = reader.read().expect("it can be read") {
            read += payload.len();
        }
        log.close();
        (seconds, start.elapsed().as_secs_f64(), read)
    } else {
        let path = place.path().join("file");
        let file =
            File::options().create_new(true).read(true).write(true).open(&path).expect("a file can be made");
        let sink: Box<dyn Sink> = if store == STORES[1] {
            let backend = redb::backends::FileBackend::new(file).expect("a file can be used");
            let mut builder = redb::Builder::new();
            builder.set_cache_size(64 << 20);
            let database = match fsync {
                true => builder.create_with_backend(backend),
                false => builder.create_with_backend(Unsynced(backend)),
            };
            Box::new(Redb { database: database.expect("redb opens"), next: 0 })
        } else {
            Box::new(Plain { path, file, fsync })
        };
        let (queue, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || collect(sink, inbox));
        let seconds = append_all(&Client::Queue(queue), load, records);
        let sink = thread.join().expect("the thread ends");
        let start = Instant::now();
        let read = sink.read();
        (seconds, start.elapsed().as_secs_f64(), read)
    };
    assert_eq!(read as f64, bytes, "{store} gives back what it took");
    [bytes / 1e6 / seconds, records as f64 / seconds, bytes / 1e6 / read_seconds]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    allocator::keep_freed_memory();
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    for fsync in [false, true] {
        for load in &LOADS {
            let mut measured = [const { Vec::new() }; 3];
            for round in 0..ROUNDS {
                for turn in 0..STORES.len() {
                    let at = (round + turn) % STORES.len();
                    measured[at].push(measure(STORES[at], load, fsync, &folder));
                }
            }
            println!("{}, {}:", if fsync { "fsync" } else { "os" }, load.name);
            let of = |at: usize, what: usize| {
                median(measured[at].iter().map(|rates: &[f64; 3]| rates[what]).collect())
            };
            for (at, store) in STORES.iter().enumerate() {
                println!(
                    "    {store:<12} {:>6.0} MB/s  {:>8.0} records/s  read back {:>6.0} MB/s  {:.2} of the plain file",
                    of(at, 0),
                    of(at, 1),
                    of(at, 2),
                    of(at, 0) / of(2, 0),
                );
            }
        }
    }
}
