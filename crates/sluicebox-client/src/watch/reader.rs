//! Refreshes the data: a thread polls the job, waits for answers and reconnects after a restart.
//! The screen never waits for it.

use crate::backoff::Backoff;
use crate::watch::job_view::{Command, JobView};
use crate::watch::scene::{Link, Look, Scene};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::Report;
use sluicebox_observe::history::Point;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval between polls.
const PERIOD: Duration = Duration::from_millis(250);
/// Interval between polls of the log.
const LINES_PERIOD: Duration = Duration::from_secs(1);
/// First and longest pause before a lost job is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// Capacity of the queue in each direction.
const QUEUE: usize = 16;

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
    Notice(String),
}

/// Reads everything that the screen shows.
pub struct Reader {
    job: Box<dyn JobView>,
    scene: Scene,
    look: Look,
    /// The look that the charts' points were read for.
    drawn: Option<Look>,
    lines_due: Instant,
}

impl Reader {
    /// Creates a reader that has read only the job's description.
    pub fn new(mut job: Box<dyn JobView>, look: Look) -> Result<Self> {
        let about = Arc::new(job.about()?);
        let scene = Scene { about, takes_commands: job.takes_commands(), ..Scene::default() };
        Ok(Self { job, scene, look, drawn: None, lines_due: Instant::now() })
    }

    /// Reads everything now.
    pub fn read(&mut self) -> Result<&Scene> {
        self.refresh()?;
        Ok(&self.scene)
    }

    /// Keeps reading on a thread until the other ends of the channels are dropped.
    pub fn start(mut self) -> Result<(Sender<Ask>, Receiver<News>)> {
        let ((ask, asks), (to_screen, news)) = (bounded(QUEUE), bounded(QUEUE));
        let thread = std::thread::Builder::new().name("watch".into());
        let started = thread.spawn(move || self.work(&asks, &to_screen));
        started.map_err(|error| Error::Engine(format!("cannot start a thread: {error}")))?;
        Ok((ask, news))
    }

    fn work(&mut self, asks: &Receiver<Ask>, to_screen: &Sender<News>) {
        let (mut due, mut backoff) = (Instant::now(), Backoff::new(BACKOFF.0, BACKOFF.1));
        loop {
            let before = self.scene.clone();
            if Instant::now() >= due {
                let started = self.scene.about.started_ms;
                let pause = match self.try_again() {
                    Ok(()) => {
                        backoff.reset();
                        PERIOD
                    }
                    Err(error) => {
                        self.scene.link = Link::Lost(error.to_string());
                        backoff.pause()
                    }
                };
                due = Instant::now() + pause;
                let again = started != self.scene.about.started_ms;
                if again && to_screen.send(News::Notice("the job was restarted".into())).is_err() {
                    return;
                }
            }
            if self.scene != before && to_screen.send(News::Scene(Box::new(self.scene.clone()))).is_err() {
                return;
            }
            match asks.recv_deadline(due) {
                Ok(ask) => {
                    for ask in std::iter::once(ask).chain(asks.try_iter()) {
                        match ask {
                            Ask::Look(look) => self.look = look,
                            Ask::Command(command) => {
                                let said = match self.job.send(command) {
                                    Ok(()) => format!("{}: sent to the job", command.name()),
                                    Err(error) => error.to_string(),
                                };
                                if to_screen.send(News::Notice(said)).is_err() {
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
        let about = self.job.about()?;
        if about != *self.scene.about {
            self.scene = Scene {
                about: Arc::new(about),
                takes_commands: self.job.takes_commands(),
                ..Scene::default()
            };
            self.drawn = None;
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        let due = Instant::now() >= self.lines_due;
        if due {
            self.set_about()?;
            self.scene.lines = Arc::new(self.job.lines()?);
            self.lines_due = Instant::now() + LINES_PERIOD;
        }
        self.scene.progress = self.job.progress()?;
        self.scene.span = self.job.span()?;
        if let Some(span) = self.scene.span {
            self.draw(span)?;
            let at = self.look.at.unwrap_or(span.1).clamp(span.0, span.1);
            let is_new = self.scene.report.as_ref().is_none_or(|report| report.epoch != at);
            if is_new {
                let report = self.job.report(at)?;
                self.scene.report = report.or_else(|| self.folded(at)).map(Arc::new);
            }
            if is_new || due {
                let (from, to) = self.scene.epochs;
                self.scene.marks = Arc::new(self.job.marks(from..=to)?);
                self.scene.verdicts = Arc::new(self.job.verdicts(at)?); // ages grow
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
            let more = self.job.series(known + 1..=to, points)?;
            let series = Arc::make_mut(&mut self.scene.series);
            series.extend(more);
            series.retain(|point| point.last_epoch >= from);
        } else if !goes_on {
            self.scene.series = Arc::new(self.job.series(from..=to, points)?);
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
            News::Notice(_) => false,
        };
        wait_for(&|told| scene(told, &|scene| scene.link == Link::Up && scene.span == Some((1, 5))));
        script.set(|state| state.away = true);
        wait_for(&|told| {
            scene(told, &|scene| matches!(&scene.link, Link::Lost(why) if why.contains("away")))
        });
        script.set(|state| (state.away, state.started_ms, state.newest) = (false, 77, 6));
        wait_for(&|told| matches!(told, News::Notice(said) if said.contains("restarted")));
        wait_for(&|told| scene(told, &|scene| scene.link == Link::Up && scene.span == Some((1, 6))));
        ask.send(Ask::Command(Command::Pause)).unwrap();
        wait_for(&|told| matches!(told, News::Notice(said) if said.contains("pause")));
        assert_eq!(script.commands(), [Command::Pause]);
        ask.send(Ask::Look(Look { at: Some(3), ..LOOK })).unwrap();
        wait_for(&|told| scene(told, &|scene| scene.report.as_ref().is_some_and(|report| report.epoch == 3)));
    }
}
