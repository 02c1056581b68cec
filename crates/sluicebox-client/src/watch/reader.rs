//! Refreshes the data: a thread polls the job, waits for answers and reconnects after a restart.
//! The screen never waits for it.

use crate::watch::facts::{Command, JobView};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Line, Progress, Report};
use sluicebox_observe::history::Point;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval between polls.
const PERIOD: Duration = Duration::from_millis(250);
/// Interval between polls of the log.
const LINES_PERIOD: Duration = Duration::from_secs(1);
/// First and longest pause before a lost job is tried again; it doubles each time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// Capacity of the queue in each direction.
const QUEUE: usize = 16;

/// The epochs that the screen asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Epoch of the report; none: the newest.
    pub at: Option<u64>,
    /// Last epoch drawn; none: the newest.
    pub until: Option<u64>,
    /// Number of epochs in the charts; none: all.
    pub epochs: Option<u64>,
    /// Number of points that the charts have room for.
    pub points: usize,
}

impl Look {
    /// Returns the first and last epoch of the charts, given those with data.
    pub fn range(&self, (first, newest): (u64, u64)) -> (u64, u64) {
        let last = self.until.unwrap_or(newest).clamp(first, newest);
        let Some(epochs) = self.epochs else { return (first, last) };
        let latest = (last + 1).saturating_sub(epochs).max(first);
        let from = self.at.map_or(latest, |at| at.saturating_sub(epochs / 2).clamp(first, latest));
        (from, (from + epochs.max(1) - 1).min(last))
    }
}

/// State of the connection to the job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Link {
    /// The job answers.
    #[default]
    Up,
    /// The job does not answer, for this reason; the reader retries.
    Lost(String),
}

/// Everything that is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// The job's description.
    pub about: Arc<About>,
    /// The job's progress, where known.
    pub progress: Option<Progress>,
    /// The first and the newest epoch with data.
    pub span: Option<(u64, u64)>,
    /// The report of the epoch shown.
    pub report: Option<Arc<Report>>,
    /// First and last epoch of the charts.
    pub epochs: (u64, u64),
    /// Points of the charts.
    pub series: Arc<Vec<Point>>,
    /// The log, oldest line first.
    pub lines: Arc<Vec<Line>>,
    /// State of the connection.
    pub link: Link,
    /// Whether the job accepts requests.
    pub obeys: bool,
}

impl Scene {
    /// Returns whether the job is known to be over.
    pub fn is_over(&self) -> bool {
        self.progress.is_some_and(|progress| progress.over)
    }
}

/// Message from the screen to the reader.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// Show these epochs.
    Look(Look),
    /// Send this request to the job.
    Command(Command),
}

/// Message from the reader to the screen.
#[derive(Debug)]
pub enum News {
    /// New data to show.
    Scene(Box<Scene>),
    /// A sentence for the bottom line.
    LabelMessage(String),
}

/// Reads everything that the screen shows.
pub struct Reader {
    facts: Box<dyn JobView>,
    scene: Scene,
    look: Look,
    /// The look that the charts' points were read for.
    drawn: Option<Look>,
    lines_due: Instant,
}

impl Reader {
    /// Creates a reader that has read only the job's description.
    pub fn new(mut facts: Box<dyn JobView>, look: Look) -> Result<Self> {
        let about = Arc::new(facts.about()?);
        let scene = Scene { about, obeys: facts.obeys(), ..Scene::default() };
        Ok(Self { facts, scene, look, drawn: None, lines_due: Instant::now() })
    }

    /// Reads everything now.
    pub fn read(&mut self) -> Result<&Scene> {
        self.refresh()?;
        Ok(&self.scene)
    }

    /// Keeps reading on a thread until the other ends of the channels are dropped.
    pub fn start(mut self) -> Result<(Sender<Ask>, Receiver<News>)> {
        let ((ask, asks), (tell, news)) = (bounded(QUEUE), bounded(QUEUE));
        let thread = std::thread::Builder::new().name("watch".into());
        let started = thread.spawn(move || self.work(&asks, &tell));
        started.map_err(|error| Error::Engine(format!("cannot start a thread: {error}")))?;
        Ok((ask, news))
    }

    fn work(&mut self, asks: &Receiver<Ask>, tell: &Sender<News>) {
        let (mut due, mut wait) = (Instant::now(), BACKOFF.0);
        loop {
            let before = self.scene.clone();
            if Instant::now() >= due {
                let started = self.scene.about.started_ms;
                (due, wait) = match self.try_again() {
                    Ok(()) => (Instant::now() + PERIOD, BACKOFF.0),
                    Err(error) => {
                        self.scene.link = Link::Lost(error.to_string());
                        (Instant::now() + wait, (2 * wait).min(BACKOFF.1))
                    }
                };
                let again = started != self.scene.about.started_ms;
                if again && tell.send(News::LabelMessage("the job was started again".into())).is_err() {
                    return;
                }
            }
            if self.scene != before && tell.send(News::Scene(Box::new(self.scene.clone()))).is_err() {
                return;
            }
            match asks.recv_deadline(due) {
                Ok(ask) => {
                    for ask in std::iter::once(ask).chain(asks.try_iter()) {
                        match ask {
                            Ask::Look(look) => self.look = look,
                            Ask::Command(wish) => {
                                let said = match self.facts.wish(wish) {
                                    Ok(()) => format!("{}: the job was asked", wish.name()),
                                    Err(error) => error.to_string(),
                                };
                                if tell.send(News::LabelMessage(said)).is_err() {
                                    return;
                                }
                            }
                        }
                    }
                    if self.scene.link == Link::Up {
                        due = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Refreshes; after a failure it first reads the job's description again.
    fn try_again(&mut self) -> Result<()> {
        if self.scene.link != Link::Up {
            self.set_about()?;
        }
        self.refresh()?;
        self.scene.link = Link::Up;
        Ok(())
    }

    /// Reads the job's description; if it changed, the job was restarted and the scene is reset.
    fn set_about(&mut self) -> Result<()> {
        let about = self.facts.about()?;
        if about != *self.scene.about {
            self.scene = Scene { about: Arc::new(about), obeys: self.facts.obeys(), ..Scene::default() };
            self.drawn = None;
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        if Instant::now() >= self.lines_due {
            self.set_about()?;
            self.scene.lines = Arc::new(self.facts.lines()?);
            self.lines_due = Instant::now() + LINES_PERIOD;
        }
        self.scene.progress = self.facts.progress()?;
        self.scene.span = self.facts.span()?;
        if let Some(span) = self.scene.span {
            self.draw(span)?;
            let at = self.look.at.unwrap_or(span.1).clamp(span.0, span.1);
            if self.scene.report.as_ref().is_none_or(|report| report.epoch != at) {
                let report = self.facts.report(at)?;
                self.scene.report = report.or_else(|| self.folded(at)).map(Arc::new);
            }
        }
        Ok(())
    }

    /// Updates the charts' points, reading only the new epochs where that is enough.
    fn draw(&mut self, span: (u64, u64)) -> Result<()> {
        let Look { points, .. } = self.look;
        let (from, to) = self.look.range(span);
        let known = self.scene.series.last().map_or(0, |point| point.last_epoch);
        // Charts of all epochs do not depend on the epoch shown.
        let drawn = Some(Look { at: self.look.at.filter(|_| self.look.epochs.is_some()), ..self.look });
        let goes_on =
            self.drawn == drawn && (from..=to).contains(&known) && self.scene.series.len() <= 2 * points;
        if goes_on && known < to {
            let more = self.facts.series(known + 1..=to, points)?;
            let series = Arc::make_mut(&mut self.scene.series);
            series.extend(more);
            series.retain(|point| point.last_epoch >= from);
        } else if !goes_on {
            self.scene.series = Arc::new(self.facts.series(from..=to, points)?);
            self.drawn = drawn;
        }
        self.scene.epochs = (from, to);
        Ok(())
    }

    /// Returns a report with the mean of the point that covers an epoch, where the epoch's own
    /// report is gone.
    fn folded(&self, epoch: u64) -> Option<Report> {
        let within = |point: &&Point| (point.first_epoch..=point.last_epoch).contains(&epoch);
        let point = self.scene.series.iter().find(within)?;
        Some(Report { epoch, ended_ms: point.ended_ms, job: point.mean.clone(), ..Report::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample::Script;

    const LOOK: Look = Look { at: None, until: None, epochs: None, points: 100 };

    #[test]
    fn charts_show_the_epochs_that_are_asked_for() {
        assert_eq!(LOOK.range((1, 1000)), (1, 1000));
        assert_eq!(Look { epochs: Some(10), ..LOOK }.range((1, 1000)), (991, 1000));
        assert_eq!(Look { epochs: Some(10), at: Some(500), ..LOOK }.range((1, 1000)), (495, 504));
        assert_eq!(Look { epochs: Some(10), at: Some(2), ..LOOK }.range((1, 1000)), (1, 10));
        assert_eq!(Look { epochs: Some(10), at: Some(999), ..LOOK }.range((1, 1000)), (991, 1000));
        assert_eq!(Look { until: Some(700), ..LOOK }.range((1, 1000)), (1, 700));
        assert_eq!(Look { epochs: Some(5000), at: Some(7), ..LOOK }.range((3, 9)), (3, 9));
        assert_eq!(Look { until: Some(1), ..LOOK }.range((3, 9)), (3, 3));
    }

    #[test]
    fn new_epochs_are_added_and_never_too_many_points_kept() {
        let script = Script::new(1_000_000);
        let mut reader = Reader::new(Box::new(script.clone()), LOOK).unwrap();
        let scene = reader.read().unwrap();
        assert_eq!((scene.epochs, scene.series.len()), ((1, 1_000_000), 100));
        assert_eq!(scene.report.as_ref().unwrap().epoch, 1_000_000);
        for epoch in 1..500 {
            script.set(|state| state.newest = 1_000_000 + epoch);
            let scene = reader.read().unwrap();
            assert_eq!(scene.series.last().unwrap().last_epoch, 1_000_000 + epoch);
            assert_eq!(scene.series.first().unwrap().first_epoch, 1);
            assert!(scene.series.len() <= 201);
        }
        let asked = script.asked();
        assert!(asked < 100 + 500 + 4 * 100, "{asked} points were asked for");
    }

    #[test]
    fn an_epoch_that_was_folded_is_shown_by_what_is_left_of_it() {
        let script = Script::new(1000);
        script.set(|state| state.kept_from = 900);
        let mut reader = Reader::new(Box::new(script), Look { at: Some(95), ..LOOK }).unwrap();
        let report = reader.read().unwrap().report.clone().unwrap();
        assert_eq!(report.epoch, 95);
        assert!(report.job.accuracy.is_some() && report.operators.is_empty());
    }

    #[test]
    fn a_lost_job_is_found_again() {
        let script = Script::new(5);
        let reader = Reader::new(Box::new(script.clone()), LOOK).unwrap();
        let (ask, news) = reader.start().unwrap();
        let wait_for = |wanted: &dyn Fn(&News) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while let Ok(told) = news.recv_deadline(deadline) {
                if wanted(&told) {
                    return;
                }
            }
            panic!("nothing of that kind came");
        };
        let scene = |told: &News, wanted: &dyn Fn(&Scene) -> bool| match told {
            News::Scene(scene) => wanted(scene),
            News::LabelMessage(_) => false,
        };
        wait_for(&|told| scene(told, &|scene| scene.link == Link::Up && scene.span == Some((1, 5))));
        script.set(|state| state.away = true);
        wait_for(&|told| {
            scene(told, &|scene| matches!(&scene.link, Link::Lost(why) if why.contains("away")))
        });
        script.set(|state| (state.away, state.started_ms, state.newest) = (false, 77, 6));
        wait_for(&|told| matches!(told, News::LabelMessage(said) if said.contains("started again")));
        wait_for(&|told| scene(told, &|scene| scene.link == Link::Up && scene.span == Some((1, 6))));
        ask.send(Ask::Command(Command::Pause)).unwrap();
        wait_for(&|told| matches!(told, News::LabelMessage(said) if said.contains("pause")));
        assert_eq!(script.wishes(), [Command::Pause]);
        ask.send(Ask::Look(Look { at: Some(3), ..LOOK })).unwrap();
        wait_for(&|told| scene(told, &|scene| scene.report.as_ref().is_some_and(|report| report.epoch == 3)));
    }
}
