//! A fake job, for tests.

use crate::watch::job_view::{Command, JobView};
use parking_lot::{Mutex, MutexGuard};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::pipeline::PIPELINE;
use sluicebox_core::report::{
    About, ClassMeters, JobMeters, Line, Mark, MarkKind, Named, OperatorMeters, Progress, Report,
};
use sluicebox_observe::history::Point;
use sluicebox_observe::verdict::{Evidence, Verdict, judge};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// State of the fake job, and the requests it received.
pub struct State {
    pub newest: u64,
    pub kept_from: u64,
    pub started_ms: u64,
    pub away: bool,
    pub asked: usize,
    pub commands: Vec<Command>,
}

/// A fake job that a test can change while it is watched.
#[derive(Clone)]
pub struct Script(Arc<Mutex<State>>);

impl Script {
    /// Creates a job with `newest` finished epochs.
    pub fn new(newest: u64) -> Self {
        let state =
            State { newest, kept_from: 1, started_ms: 1, away: false, asked: 0, commands: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.state());
    }

    pub fn asked(&self) -> usize {
        self.state().asked
    }

    pub fn commands(&self) -> Vec<Command> {
        self.state().commands.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    fn here(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.away { Err(Error::Connection("it is away".into())) } else { Ok(state) }
    }
}

impl JobView for Script {
    fn about(&mut self) -> Result<About> {
        Ok(About { started_ms: self.here()?.started_ms, ..about() })
    }

    fn progress(&mut self) -> Result<Option<Progress>> {
        let epoch = self.here()?.newest + 1;
        Ok(Some(Progress { epoch, done: 62, of: 100, ..Progress::default() }))
    }

    fn span(&mut self) -> Result<Option<(u64, u64)>> {
        Ok(Some((1, self.here()?.newest)))
    }

    fn report(&mut self, epoch: u64) -> Result<Option<Report>> {
        Ok((epoch >= self.here()?.kept_from).then(|| report(epoch)))
    }

    fn verdicts(&mut self, epoch: u64) -> Result<Vec<Verdict>> {
        self.here().map(|_| verdicts(epoch))
    }

    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>> {
        let series = series(epochs, points);
        self.here()?.asked += series.len();
        Ok(series)
    }

    fn marks(&mut self, epochs: RangeInclusive<u64>) -> Result<Vec<Mark>> {
        let mark = Mark { epoch: 40, kind: MarkKind::Drift, ..Mark::default() };
        Ok(if epochs.contains(&mark.epoch) { vec![mark] } else { Vec::new() })
    }

    fn lines(&mut self) -> Result<Vec<Line>> {
        Ok(lines())
    }

    fn send(&mut self, command: Command) -> Result<()> {
        self.here()?.commands.push(command);
        Ok(())
    }

    fn takes_commands(&self) -> bool {
        true
    }
}

pub fn about() -> About {
    About {
        job: "digits".into(),
        method: "fixmatch".into(),
        device: "cpu".into(),
        version: "0.1.0".into(),
        started_ms: 1,
        epoch_steps: 100,
        classes: (0..10).map(|class| class.to_string()).collect(),
        edges: PIPELINE.edges(true).map(|(from, to, back)| (from.into(), to.into(), back)).collect(),
        ..About::default()
    }
}

fn job(epoch: u64) -> JobMeters {
    let grown = 1.0 - 1.0 / (epoch as f64 + 1.0);
    JobMeters {
        steps: Some(100.0 * epoch as f64),
        samples_per_s: Some(30_000.0 + 1000.0 * (epoch % 5) as f64),
        steps_per_s: Some(240.0),
        student_samples_per_s: Some(21_000.0),
        accuracy: Some(0.9 + 0.08 * grown),
        prequential_accuracy: Some(0.8 + 0.1 * grown),
        accepted_fraction: Some(0.9 * grown),
        threshold: Some(0.95),
        credit_wait_fraction: Some(0.12),
        source_wait_fraction: Some(0.0),
        idle_fraction: Some(0.05),
        window_fill: Some(0.75),
        teacher_lag_steps: Some(1.0),
        labelled_loss: Some(0.3 / epoch as f64),
        unlabelled_loss: Some(0.4),
        ..JobMeters::default()
    }
}

pub fn report(epoch: u64) -> Report {
    let busy = [0.02, 0.01, 0.04, 0.21, 0.01, 0.03, 0.61, 0.02, 0.01];
    let stages = PIPELINE.stages.iter().filter(|stage| stage.name != "ledger");
    let operators = stages.zip(busy).map(|(stage, busy)| Named {
        name: stage.name.to_string(),
        meters: OperatorMeters {
            samples_per_s: Some(31_200.0),
            busy_fraction: Some(busy + 0.01),
            stage_fraction: Some(busy),
            us_per_sample: Some(1e6 * busy / 31_200.0),
        },
    });
    let classes = (0..10).map(|class| Named {
        name: class.to_string(),
        meters: ClassMeters {
            judged: Some(1280.0),
            accepted_fraction: Some(0.5 + 0.05 * class as f64),
            threshold: Some(0.95),
            pseudo_label_precision: Some(0.99),
            ..ClassMeters::default()
        },
    });
    Report {
        epoch,
        ended_ms: 1_700_000_000_000 + epoch,
        job: job(epoch),
        operators: operators.collect(),
        classes: classes.collect(),
        ..Report::default()
    }
}

pub fn verdicts(epoch: u64) -> Vec<Verdict> {
    let before: Vec<JobMeters> = (epoch.saturating_sub(10).max(1)..epoch).map(job).collect();
    judge(&Evidence { newest: &report(epoch), before: &before, drifted: None, now_ms: 0 })
}

pub fn series(epochs: RangeInclusive<u64>, points: usize) -> Vec<Point> {
    let (from, to) = epochs.into_inner();
    let width = (to + 1 - from).div_ceil(points as u64).max(1);
    let firsts = (from..=to).step_by(width as usize);
    let point = |first: u64| {
        let last = (first + width - 1).min(to);
        let mean = job(last);
        Point {
            first_epoch: first,
            last_epoch: last,
            ended_ms: 0,
            low: mean.clone(),
            high: mean.clone(),
            mean,
        }
    };
    firsts.map(point).collect()
}

pub fn lines() -> Vec<Line> {
    let line = |(at, (level, text)): (usize, (&str, &str))| Line {
        at_ms: 3_661_000 + 1000 * at as u64,
        level: level.into(),
        module: "sluicebox::run".into(),
        text: text.into(),
    };
    [("info", "going on from step 800"), ("warn", "a row is bad"), ("error", "the disk is full")]
        .into_iter()
        .enumerate()
        .map(line)
        .collect()
}
