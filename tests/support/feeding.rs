//! A job that only listens, and a feeder that can misbehave.

#![allow(dead_code, missing_docs)]

use sluicebox_core::sample::Block;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::decode::Missing;
use sluicebox_stream::ingest;
use sluicebox_stream::ingest::Ingest;
use sluicebox_stream::ingest::IngestContext;
use sluicebox_stream::protocol;
use sluicebox_stream::protocol::{Accepted, Ack, Frame, Hello, Rejection, Reply};
use sluicebox_stream::source::tcp::{Listener, Settings};
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Format of two numbers per sample: the feeder, and the sample's number.
pub fn format() -> Format {
    let classes = vec!["no".to_string(), "yes".to_string()];
    Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes }
}

pub fn settings() -> Settings {
    let classes = format().classes;
    let listen = "127.0.0.1:0".to_string();
    let (max_clients, max_frame_bytes) = (256, 4 << 20);
    Settings {
        listen,
        shape: vec![2],
        dtype: Dtype::F32,
        scale: None,
        classes,
        missing: Missing::Drop,
        max_clients,
        max_frame_bytes,
    }
}

/// Returns samples `from..to` of feeder `who`.
pub fn samples(who: usize, from: u64, to: u64) -> Block {
    let values = (from..to).flat_map(|number| [who as f32, number as f32]);
    Block { bytes: values.flat_map(f32::to_le_bytes).collect(), ..Block::default() }
}

pub struct Server {
    pub live: IngestContext,
    listener: Listener,
    runtime: Runtime,
}

impl Server {
    pub fn new(folder: &Path) -> Self {
        Self::with(folder, &settings(), &LogSettings::default(), Access::default())
    }

    pub fn with(folder: &Path, settings: &Settings, log: &LogSettings, access: Access) -> Self {
        Self::of(folder, settings, log, access, format())
    }

    pub fn of(folder: &Path, settings: &Settings, log: &LogSettings, access: Access, format: Format) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let log = Wal::open(folder, "test", log).unwrap();
        let ingest = Arc::new(Ingest::new(log, format, 1).unwrap());
        let live = IngestContext { ingest, runtime: runtime.handle().clone(), access: Arc::new(access) };
        let listener = Listener::start(&live, 0, settings).unwrap();
        Self { live, listener, runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Ends at once, whatever is in progress.
    pub fn kill(self) {
        let Self { live, listener, runtime } = self;
        // The runtime is dropped first, so that no client receives a message.
        drop(runtime);
        drop(listener);
        live.ingest.log().close();
    }

    /// Returns how often something was refused for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        self.live.ingest.refused().get(reason).copied().unwrap_or(0)
    }

    /// Returns the records of the log.
    pub fn blocks(&self) -> Vec<Block> {
        let mut reader = self.live.ingest.log().reader(0, 0);
        std::iter::from_fn(|| reader.read().unwrap())
            .map(|(_, payload)| ingest::block(&payload).unwrap())
            .collect()
    }

    /// Returns the numbers of feeder `who`'s samples in the log, in its order.
    pub fn taken(&self, who: usize) -> Vec<u64> {
        let mut found = Vec::new();
        for block in self.blocks() {
            let numbers = block.bytes.chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap()));
            let numbers: Vec<f32> = numbers.collect();
            let mine = numbers.chunks_exact(2).filter(|sample| sample[0] == who as f32);
            found.extend(mine.map(|sample| sample[1] as u64));
        }
        found
    }
}

/// A feeder controlled byte by byte.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn new(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).unwrap() }
    }

    pub fn hello(client: &str) -> Hello {
        Hello { token: None, client: client.into(), shape: None, dtype: None }
    }

    /// Connects and is accepted.
    pub fn accepted(address: SocketAddr, client: &str) -> (Self, Accepted) {
        match Self::greeted(address, &Self::hello(client)) {
            (raw, Reply::Accepted(accepted)) => (raw, accepted),
            (_, other) => panic!("{other:?}"),
        }
    }

    /// Connects, sends a hello and returns the answer.
    pub fn greeted(address: SocketAddr, hello: &Hello) -> (Self, Reply) {
        let mut raw = Self::new(address);
        raw.send(&protocol::preamble());
        raw.send(&protocol::record(hello));
        let answer = raw.answer();
        (raw, answer)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn frame(&mut self, first: u64, block: Block) {
        self.send(&protocol::record(&Frame { first, block }));
    }

    /// Reads the job's preamble and its first reply.
    pub fn answer(&mut self) -> Reply {
        let mut preamble = [0; 10];
        self.stream.read_exact(&mut preamble).unwrap();
        assert_eq!(preamble, protocol::preamble());
        self.reply().unwrap()
    }

    /// Returns the next reply; none where the connection has ended.
    pub fn reply(&mut self) -> Option<Reply> {
        let mut head = [0; 8];
        self.stream.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_le_bytes(head[..4].try_into().unwrap()) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some(protocol::decode(&body).unwrap())
    }

    /// Reads acknowledgements until `samples` are acknowledged.
    pub fn acknowledged(&mut self, samples: u64) -> Ack {
        loop {
            match self.reply() {
                Some(Reply::Ack(ack)) if ack.samples >= samples => return ack,
                Some(Reply::Ack(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads until the fault that ends the connection, and returns it.
    pub fn fault(&mut self) -> Rejection {
        loop {
            match self.reply() {
                Some(Reply::Rejected(fault)) => return fault,
                Some(_) => {}
                None => panic!("the connection ended without a fault"),
            }
        }
    }
}
