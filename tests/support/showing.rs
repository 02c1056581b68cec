//! A job status without a job, made-up reports, and a server that shows them.

#![allow(dead_code, missing_docs)]

use sluicebox::serve::http::{Limits, Served, Server, start_within};
use sluicebox_core::controls::Controls;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::pipeline::PIPELINE;
use sluicebox_core::report::thumbnail::Thumbnail;
use sluicebox_core::report::{
    About, Cell, ClassMeters, Confusion, JobMeters, Line, Mark, MarkKind, Meters, Named, OperatorMeters,
    ReasonMeters, Report, SourceMeters, WorkerMeters,
};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_core::sample_id::SampleId;
use sluicebox_observe::gallery::Thumbnails;
use sluicebox_observe::history::HistoryWriter;
use sluicebox_observe::history::settings::History as HistorySettings;
use sluicebox_observe::status::{JobStatus, StatusObserver};
use sluicebox_stream::auth::{Access, Refusals};
use std::sync::{Arc, Mutex};

/// Returns the operators of a job without a ledger.
fn operators() -> Vec<&'static str> {
    PIPELINE.stages.iter().map(|stage| stage.name).filter(|name| *name != "ledger").collect()
}

/// Returns the description of a job with ten digits.
pub fn about() -> About {
    let edge = |from: &str, to: &str, feedback| (from.to_string(), to.to_string(), feedback);
    let operators = operators();
    let forward = operators.windows(2).map(|pair| edge(pair[0], pair[1], false));
    let others =
        [edge("learn", "teach", true), edge("commit", "source", true), edge("batch", "learn", false)];
    About {
        job: "digits <b>bold</b>".into(),
        method: "fixmatch".into(),
        toml: "[source]\nkind = \"digits\"\n".into(),
        device: "cpu".into(),
        machine: "two cores".into(),
        version: "0".into(),
        pid: std::process::id(),
        started_ms: 1_700_000_000_000,
        epoch_steps: 100,
        classes: (0..10).map(|class| class.to_string()).collect(),
        edges: forward.chain(others).collect(),
        images: true,
        fed: false,
        state: Some("state".into()),
        ..About::default()
    }
}

/// A job status with its history, which `tell` fills.
pub struct Shown {
    pub status: Arc<JobStatus>,
    pin: Mutex<(StatusObserver, HistoryWriter)>,
}

pub fn shown(about: About) -> Shown {
    let history_writer = HistoryWriter::open(None, &HistorySettings::default(), &about).unwrap();
    let history = history_writer.reader().unwrap();
    let status = JobStatus::new(about, Arc::default(), Controls::default(), Arc::default(), history);
    let status = Arc::new(status);
    *status.thumbnails.lock() = thumbnails();
    Shown { pin: Mutex::new((StatusObserver(status.clone()), history_writer)), status }
}

impl Shown {
    /// Reports a finished epoch.
    pub fn epoch(&self, epoch: u64) {
        self.tell(&Event::Epoch(Arc::new(report(epoch))));
        self.status.clock.step(epoch + 1, 0, 100);
    }

    /// Reports `epochs` finished epochs with few values.
    pub fn many(&self, epochs: u64) {
        let report =
            |epoch| Report { epoch, ended_ms: 1000 * epoch, job: numbers(epoch), ..Report::default() };
        let mut told = self.pin.lock().unwrap();
        for first in (1..=epochs).step_by(1000) {
            let events: Vec<Event> =
                (first..first + 1000).map(|epoch| Event::Epoch(Arc::new(report(epoch)))).collect();
            told.1.notify(&events).unwrap();
        }
        told.0.notify(&[Event::Epoch(Arc::new(self::report(epochs)))]).unwrap();
        self.status.clock.step(epochs + 1, 0, 100);
    }

    /// Tells what happened in an epoch.
    pub fn mark(&self, kind: MarkKind, epoch: u64, text: &str) {
        let mark = Mark { at_ms: 1000 * epoch, epoch, step: 100 * epoch, kind, text: text.into() };
        self.tell(&Event::Mark(Arc::new(mark)));
    }

    /// Adds a line to the log.
    pub fn line(&self, text: &str) {
        let line = Line { at_ms: 1, level: "info".into(), module: "test".into(), text: text.into() };
        self.tell(&Event::Line(Arc::new(line)));
    }

    fn tell(&self, event: &Event) {
        let mut told = self.pin.lock().unwrap();
        told.1.notify(std::slice::from_ref(event)).unwrap();
        told.0.notify(std::slice::from_ref(event)).unwrap();
    }
}

/// A server that shows a job status. Stops when it is dropped.
pub struct Rig {
    pub shown: Shown,
    pub refusals: Refusals,
    pub server: Option<Server>,
    pub address: String,
    _runtime: tokio::runtime::Runtime,
}

pub fn rig() -> Rig {
    rig_of(about(), None, Limits::default())
}

pub fn rig_of(about: About, token: Option<&str>, limits: Limits) -> Rig {
    let shown = shown(about);
    let refusals = Refusals::default();
    let shape = Shape::Image { channels: 1, height: 8, width: 8 };
    let classes = shown.status.about.classes.clone();
    let served = Served {
        status: shown.status.clone(),
        format: Format { shape, dtype: Dtype::U8, scale: 1.0, classes },
        form: Arc::default(),
        ingest: None,
        predictor: None,
        others: Vec::new(),
        access: Arc::new(Access::new(token.map(String::from), None)),
        refusals: refusals.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = start_within(limits, runtime.handle(), "127.0.0.1:0", served).unwrap();
    let address = server.address.to_string();
    Rig { shown, refusals, server: Some(server), address, _runtime: runtime }
}

/// Returns meters with a different value for each.
fn numbers<M: Meters>(seed: u64) -> M {
    let mut meters = M::default();
    for (at, meter) in M::METERS.iter().enumerate() {
        let share = 0.5 + 0.4 * ((seed as f64 / 17.0 + at as f64).sin());
        let value = match meter.unit {
            sluicebox_core::report::Unit::Share => share,
            _ => 1000.0 * share,
        };
        meters.put(meter.name, Some(value));
    }
    meters
}

pub fn report(epoch: u64) -> Report {
    let of = |name: &str| name.to_string();
    let class = |class: u64| Named { name: class.to_string(), meters: numbers::<ClassMeters>(epoch + class) };
    let operator = |(at, name): (usize, &&str)| {
        let mut meters = numbers::<OperatorMeters>(epoch + at as u64);
        meters.busy_fraction = meters.busy_fraction.map(|share| share / 9.0);
        meters.stage_fraction = meters.busy_fraction.map(|share| share * 0.8);
        Named { name: of(name), meters }
    };
    let cell = |at: u32| Cell {
        truth: at / 10,
        given: at % 10,
        samples: if at / 10 == at % 10 { 90 } else { u64::from(at * 7 % 5) },
        accepted: if at / 10 == at % 10 { 80 } else { 0 },
    };
    Report {
        epoch,
        ended_ms: 1_700_000_000_000 + 1000 * epoch,
        job: JobMeters { samples: Some(epoch as f64 * 12_800.0), ..numbers(epoch) },
        classes: (0..10).map(class).collect(),
        operators: operators().iter().enumerate().map(operator).collect(),
        phases: Vec::new(),
        workers: ["0", "1"]
            .map(|name| Named { name: of(name), meters: numbers::<WorkerMeters>(epoch) })
            .into(),
        sources: vec![Named { name: of("digits"), meters: numbers::<SourceMeters>(epoch) }],
        reasons: vec![Named { name: of("bad-line"), meters: ReasonMeters { refused: Some(3.0) } }],
        confusions: vec![Confusion { of: of("stream"), cells: (0..100).map(cell).collect() }],
        ledger: None,
    }
}

fn thumbnails() -> Thumbnails {
    let thumbnail = |id: u64, accepted| Thumbnail {
        id: SampleId::number(id),
        epoch: 1,
        given: (id % 10) as u32,
        confidence: 0.75,
        accepted,
        truth: Some((id * 3 % 10) as u32),
        shape: [8, 8, 1],
        pixels: (0..64u64).map(|at| (at * (id + 3) * 5 % 256) as u8).collect(),
    };
    Thumbnails {
        accepted: (0..12).map(|id| thumbnail(id, true)).collect(),
        rejected: (20..26).map(|id| thumbnail(id, false)).collect(),
        disagreeing: (1..5).map(|id| thumbnail(id, true)).collect(),
    }
}
