//! State of the screen, and the effect of each key.

use crate::watch::job_view::Command;
use crate::watch::reader::News;
use crate::watch::scene::{Look, Scene};
use crate::watch::view::View;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sluicebox_core::report::{JobMeters, Meters};

/// Throughput meters; one of them is shown at a time.
pub const RATES: [&str; 4] = ["samples_per_s", "steps_per_s", "student_samples_per_s", "arriving_per_s"];

/// Fewest epochs that a chart shows.
const FEWEST: u64 = 8;
/// Lines scrolled by PgUp and PgDn.
const PAGE: usize = 10;

/// Consequence of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Only redraw.
    Show,
    /// Quit.
    Quit,
    /// Send a request to the job.
    Command(Command),
}

/// State of the screen.
#[derive(Debug, Clone, Default)]
pub struct App {
    /// The data to show.
    pub scene: Scene,
    /// The view that fills the screen.
    pub view: View,
    /// Index in [`RATES`].
    pub rate: usize,
    /// Fractions are written as such (0.97) rather than as percentages.
    pub fractions: bool,
    /// The help box is open.
    pub help: bool,
    /// Request that awaits confirmation.
    pub question: Option<Command>,
    /// Message of the bottom line, until the next key.
    pub notice: Option<String>,
    /// Lines scrolled: back in the log, down elsewhere.
    pub scroll: usize,
    /// Epoch held, and the newest epoch when the hold began; none: the view follows the newest.
    pub at: Option<(u64, u64)>,
    /// Number of epochs that the charts show; none: all.
    pub epochs: Option<u64>,
}

impl App {
    /// Returns the epochs to ask for, where the charts have room for `points` points.
    pub fn look(&self, points: usize) -> Look {
        let (at, until) = self.at.unzip();
        Look { at, until, epochs: self.epochs, points }
    }

    /// Returns whether the view is held at an epoch.
    pub fn is_still(&self) -> bool {
        self.at.is_some()
    }

    /// Returns the name of the throughput meter shown.
    pub fn rate(&self) -> &'static str {
        RATES[self.rate % RATES.len()]
    }

    /// Applies a message from the reader.
    pub fn take(&mut self, news: News) {
        match news {
            News::Scene(scene) => self.scene = *scene,
            News::Notice(text) => self.notice = Some(text),
        }
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Then {
        if key.kind == KeyEventKind::Release {
            return Then::Show;
        }
        self.notice = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Then::Quit;
        }
        if let Some(command) = self.question.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Then::Command(command),
                _ => Then::Show,
            };
        }
        if std::mem::take(&mut self.help) {
            return Then::Show;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Then::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('P') => {
                let paused = self.scene.progress.is_some_and(|progress| progress.paused);
                self.ask(if paused { Command::Resume } else { Command::Pause });
            }
            KeyCode::Char('C') => self.ask(Command::Checkpoint),
            KeyCode::Char('u') => self.rate = (self.rate + 1) % RATES.len(),
            KeyCode::Char('f' | '%') => self.fractions = !self.fractions,
            code => self.travel(code),
        }
        Then::Show
    }

    /// Handles the keys that change the view, the epochs or the scroll position.
    fn travel(&mut self, code: KeyCode) {
        let newest = self.scene.span.map_or(0, |(_, newest)| newest);
        let page = (self.scene.epochs.1.saturating_sub(self.scene.epochs.0) / 10).max(1);
        match code {
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(View::EVERY.len() - 1),
            KeyCode::Char(digit @ '1'..='6') => self.open(View::EVERY[digit as usize - '1' as usize]),
            KeyCode::Char('l') => self.open(View::Log),
            KeyCode::Char('+' | '=') => self.zoom(|shown| (shown / 2).max(FEWEST)),
            KeyCode::Char('-' | '_') => self.zoom(|shown| shown.saturating_mul(2)),
            KeyCode::Char(' ') => self.at = if self.is_still() { None } else { Some((newest, newest)) },
            KeyCode::Left => self.go(|at| at.saturating_sub(1)),
            KeyCode::Right => self.go(|at| at + 1),
            KeyCode::PageUp if self.view == View::Log => self.scroll += PAGE,
            KeyCode::PageDown if self.view == View::Log => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageUp => self.go(|at| at.saturating_sub(page)),
            KeyCode::PageDown => self.go(|at| at + page),
            KeyCode::Home => self.go(|_| 0),
            KeyCode::End => (self.at, self.scroll) = (None, 0),
            KeyCode::Up if self.view == View::Log => self.scroll += 1,
            KeyCode::Down if self.view == View::Log => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll += 1,
            _ => {}
        }
        self.scroll = self.scroll.min(self.longest());
    }

    /// Returns the largest scroll position.
    fn longest(&self) -> usize {
        match (self.view, &self.scene.report) {
            (View::Log, _) => self.scene.lines.len(),
            (View::Classes, Some(report)) => report.classes.len(),
            // In a narrow terminal, a meter's meaning takes lines below its value.
            _ => 3 * JobMeters::METERS.len(),
        }
    }

    fn ask(&mut self, command: Command) {
        match self.scene.takes_commands {
            true => self.question = Some(command),
            false => {
                self.notice = Some("a state folder takes no commands: watch the job's address instead".into())
            }
        }
    }

    fn open(&mut self, view: View) {
        (self.view, self.scroll) = (view, 0);
    }

    fn turn(&mut self, by: usize) {
        let at = View::EVERY.iter().position(|view| *view == self.view).unwrap_or(0);
        self.open(View::EVERY[(at + by) % View::EVERY.len()]);
    }

    fn go(&mut self, to: impl FnOnce(u64) -> u64) {
        let Some((first, newest)) = self.scene.span else { return };
        let (at, until) = self.at.unwrap_or((newest, newest));
        let at = to(at).clamp(first, newest);
        self.at = Some((at, until.max(at)));
    }

    fn zoom(&mut self, to: impl FnOnce(u64) -> u64) {
        let Some((first, newest)) = self.scene.span else { return };
        let all = newest - first + 1;
        self.epochs = Some(to(self.epochs.unwrap_or(all).min(all))).filter(|shown| *shown < all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::Line;
    use std::sync::Arc;

    fn app() -> App {
        let lines = Arc::new(vec![Line::default(); 2]);
        let scene = Scene {
            span: Some((1, 1000)),
            epochs: (1, 1000),
            takes_commands: true,
            lines,
            ..Scene::default()
        };
        App { scene, ..App::default() }
    }

    fn press(app: &mut App, code: KeyCode) -> Then {
        app.key(KeyEvent::from(code))
    }

    #[test]
    fn epochs_are_scrolled_and_followed() {
        let mut app = app();
        assert_eq!(app.look(10), Look { at: None, until: None, epochs: None, points: 10 });
        press(&mut app, KeyCode::Left);
        assert_eq!(app.look(10), Look { at: Some(999), until: Some(1000), epochs: None, points: 10 });
        press(&mut app, KeyCode::PageUp);
        assert_eq!(app.look(10).at, Some(900));
        press(&mut app, KeyCode::Home);
        assert_eq!(app.look(10).at, Some(1));
        app.scene.span = Some((1, 2000));
        (0..12).for_each(|_| _ = press(&mut app, KeyCode::PageDown));
        assert_eq!((app.look(10).at, app.look(10).until), (Some(1189), Some(1189)));
        press(&mut app, KeyCode::End);
        assert!(!app.is_still());
        press(&mut app, KeyCode::Char(' '));
        assert_eq!(app.look(10).at, Some(2000));
        press(&mut app, KeyCode::Char(' '));
        assert_eq!(app.look(10).at, None);
        let mut nothing = App::default();
        for code in [KeyCode::Left, KeyCode::Home, KeyCode::Char('+'), KeyCode::Char('-'), KeyCode::PageDown]
        {
            press(&mut nothing, code);
            assert!(!nothing.is_still());
        }
    }

    #[test]
    fn charts_are_zoomed() {
        let mut app = app();
        press(&mut app, KeyCode::Char('+'));
        assert_eq!(app.look(10).epochs, Some(500));
        (0..20).for_each(|_| _ = press(&mut app, KeyCode::Char('+')));
        assert_eq!(app.look(10).epochs, Some(FEWEST));
        (0..20).for_each(|_| _ = press(&mut app, KeyCode::Char('-')));
        assert_eq!(app.look(10).epochs, None);
    }

    #[test]
    fn a_job_is_asked_only_after_a_question() {
        let mut app = app();
        assert_eq!(press(&mut app, KeyCode::Char('P')), Then::Show);
        assert_eq!(app.question, Some(Command::Pause));
        assert_eq!(press(&mut app, KeyCode::Char('q')), Then::Show);
        assert_eq!(app.question, None);
        press(&mut app, KeyCode::Char('C'));
        assert_eq!(press(&mut app, KeyCode::Char('y')), Then::Command(Command::Checkpoint));
        app.scene.progress = Some(sluicebox_core::report::Progress { paused: true, ..Default::default() });
        press(&mut app, KeyCode::Char('P'));
        assert_eq!(press(&mut app, KeyCode::Char('y')), Then::Command(Command::Resume));
        app.scene.takes_commands = false;
        press(&mut app, KeyCode::Char('P'));
        assert!(app.question.is_none() && app.notice.is_some());
    }

    #[test]
    fn views_units_and_the_way_out() {
        let mut app = app();
        press(&mut app, KeyCode::BackTab);
        assert_eq!(app.view, View::Numbers);
        press(&mut app, KeyCode::Tab);
        assert_eq!(app.view, View::All);
        press(&mut app, KeyCode::Char('3'));
        assert_eq!(app.view, View::Flow);
        press(&mut app, KeyCode::Char('l'));
        press(&mut app, KeyCode::Up);
        assert_eq!((app.view, app.scroll), (View::Log, 1));
        press(&mut app, KeyCode::PageUp);
        assert_eq!(app.scroll, 2, "there are no more lines");
        press(&mut app, KeyCode::PageDown);
        assert_eq!(app.scroll, 0);
        press(&mut app, KeyCode::Char('u'));
        press(&mut app, KeyCode::Char('f'));
        assert_eq!((app.rate(), app.fractions), ("steps_per_s", true));
        press(&mut app, KeyCode::Char('?'));
        assert!(app.help);
        assert_eq!(press(&mut app, KeyCode::Esc), Then::Show);
        assert_eq!(press(&mut app, KeyCode::Esc), Then::Quit);
        assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Then::Quit);
        assert_eq!(press(&mut app, KeyCode::Char('c')), Then::Show);
    }
}
