//! `sluicebox watch`: a job in the terminal, running or finished.
//!
//! - `place` says which job; `job_view` is the interface to it, `remote` reads a server and `folder` a state
//!   folder
//! - `reader` refreshes the `scene` on its own thread
//! - `app` handles keys, `screen` lays out the panes
//! - one file per pane: `head`, `charts`, `flow` (with `graph`), `classes`, `log`, `numbers`, `help`

pub mod app;
mod charts;
mod classes;
mod flow;
mod folder;
mod graph;
mod head;
mod help;
pub mod job_view;
mod log;
mod numbers;
pub mod place;
pub mod reader;
mod remote;
#[cfg(test)]
mod sample;
pub mod scene;
mod screen;
mod style;
pub mod terminal;
mod units;
mod verdicts;
pub mod view;

use app::{App, Then};
use crossbeam_channel::{Sender, TryRecvError, TrySendError};
pub use place::Place;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Terminal};
use reader::{Ask, Reader};
use scene::Look;
use sluicebox_core::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Interval at which keys and messages are polled.
const TICK: Duration = Duration::from_millis(50);
/// Longest time between redraws: the screen shows ages, which grow.
const AGEING: Duration = Duration::from_secs(1);
/// Points to ask for per column of the screen. A history folds eight epochs into one, so as few as
/// an eighth of them may come back.
const POINTS: usize = 4;
/// Most points that a server returns.
const MOST_POINTS: usize = 2000;

/// Shows the job until the user quits or `stop` is set.
pub fn watch(place: &Place, stop: &AtomicBool) -> Result<()> {
    let reader = Reader::new(place.open()?, App::default().look(points(80)))?;
    terminal::within(|terminal| show(terminal, reader, stop))
}

fn show(terminal: &mut DefaultTerminal, reader: Reader, stop: &AtomicBool) -> Result<()> {
    let lost =
        |error: std::io::Error| Error::Connection(format!("the terminal cannot be used any more: {error}"));
    let (ask, news) = reader.start()?;
    let mut app = App::default();
    let mut looked: Option<Look> = None;
    let mut stale = true;
    let mut drawn = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        loop {
            match news.try_recv() {
                Ok(message) => app.take(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(ended()),
            }
            stale = true;
        }
        if stale || drawn.elapsed() >= AGEING {
            terminal.draw(|frame| screen::draw(frame, &app)).map_err(lost)?;
            drawn = Instant::now();
        }
        stale = event::poll(TICK).map_err(lost)?;
        while event::poll(Duration::ZERO).map_err(lost)? {
            if let Event::Key(key) = event::read().map_err(lost)? {
                match app.key(key) {
                    Then::Show => {}
                    Then::Quit => return Ok(()),
                    Then::Command(command) if send(&ask, Ask::Command(command))? => {}
                    Then::Command(_) => {
                        app.notice =
                            Some("the command was not sent, because others still wait; try again".into())
                    }
                }
            }
        }
        let look = app.look(points(terminal.size().map_err(lost)?.width));
        if looked != Some(look) && send(&ask, Ask::Look(look))? {
            looked = Some(look);
        }
    }
    Ok(())
}

fn points(width: u16) -> usize {
    (POINTS * width as usize).clamp(1, MOST_POINTS)
}

/// Sends a request to the reader without blocking. Returns false where its queue is full, and an
/// error where its thread has panicked.
fn send(ask: &Sender<Ask>, what: Ask) -> Result<bool> {
    match ask.try_send(what) {
        Ok(()) => Ok(true),
        Err(TrySendError::Full(_)) => Ok(false),
        Err(TrySendError::Disconnected(_)) => Err(ended()),
    }
}

fn ended() -> Error {
    Error::Engine("the thread that reads the job has ended".into())
}

/// Returns the overview and every meter as text.
pub fn once(place: &Place) -> Result<String> {
    let mut app = App::default();
    let mut reader = Reader::new(place.open()?, app.look(points(screen::PAGE)))?;
    app.scene = reader.read()?.clone();
    let backend = TestBackend::new(screen::PAGE, screen::page_height(&app));
    let mut terminal = Terminal::new(backend).map_err(Error::request)?;
    terminal.draw(|frame| screen::page(frame, &app)).map_err(Error::request)?;
    let buffer = terminal.backend().buffer();
    let symbols = |y| (0..buffer.area.width).map(move |x| buffer[(x, y)].symbol());
    let line = |y| symbols(y).collect::<String>().trim_end().to_string() + "\n";
    Ok((0..buffer.area.height).map(line).collect())
}
