//! `GET /events`: what happens, as server-sent events. A client is told what is newest, some times
//! a second; who reads slowly misses what came between, and nothing is kept for it.

use super::Shared;
use super::answer::Refused;
use crate::report::{Line, Progress, Report};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(250);
/// A sign of life where nothing happens.
const ALIVE: Duration = Duration::from_secs(15);
/// Events on their way to a client.
const ON_THE_WAY: usize = 4;

/// Opens a stream: the newest report and progress, and then what is new: `report`, `line`,
/// `progress`. Ends with the server.
pub async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        shared.refusals.count("busy");
        let reason = "too many streams of events at once; close some, or try again later";
        let mut refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
        refused.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        return refused;
    };
    let (events, stream) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(Teller::new(&shared, events, place).tell());
    Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

type Told = Result<Event, axum::Error>;

/// Tells one client.
struct Teller {
    shared: Arc<Shared>,
    reports: watch::Receiver<Option<Arc<Report>>>,
    lines: watch::Receiver<VecDeque<Arc<Line>>>,
    newest_line: Option<Arc<Line>>,
    progress: Option<Progress>,
    events: mpsc::Sender<Told>,
    _place: OwnedSemaphorePermit,
}

impl Teller {
    fn new(shared: &Arc<Shared>, events: mpsc::Sender<Told>, place: OwnedSemaphorePermit) -> Self {
        let (mut reports, lines) = (shared.board.reports(), shared.board.lines());
        reports.mark_changed();
        let newest_line = lines.borrow().front().cloned();
        Self { shared: shared.clone(), reports, lines, newest_line, progress: None, events, _place: place }
    }

    /// Tells until the client is gone or the server ends, and then once more.
    async fn tell(mut self) {
        let mut open = self.shared.open.clone();
        let gone = self.events.clone();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let over = tokio::select! {
                _ = gone.closed() => return,
                _ = open.changed() => true,
                _ = looks.tick() => false,
            };
            let told = self.look();
            let send = async {
                for event in told {
                    self.events.send(event).await.ok()?;
                }
                Some(())
            };
            let sent = tokio::select! {
                sent = send => sent,
                _ = open.changed(), if !over => None, // and this client reads nothing
            };
            if over || sent.is_none() {
                return;
            }
        }
    }

    /// What is new.
    fn look(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        if self.reports.has_changed().unwrap_or(false)
            && let Some(report) = self.reports.borrow_and_update().clone()
        {
            told.push(event("report", &*report).map(|event| event.id(report.epoch.to_string())));
        }
        for line in self.new_lines() {
            told.push(event("line", &*line));
        }
        let progress = self.shared.board.progress();
        if self.progress != Some(progress) {
            self.progress = Some(progress);
            told.push(event("progress", &progress));
        }
        told
    }

    /// The lines since the last look, as far as they are kept; the oldest first.
    fn new_lines(&mut self) -> Vec<Arc<Line>> {
        if !self.lines.has_changed().unwrap_or(false) {
            return Vec::new();
        }
        let lines = self.lines.borrow_and_update();
        let is_known =
            |line: &&Arc<Line>| self.newest_line.as_ref().is_some_and(|old| Arc::ptr_eq(old, line));
        let mut new: Vec<Arc<Line>> = lines.iter().take_while(|line| !is_known(line)).cloned().collect();
        self.newest_line = lines.front().cloned();
        new.reverse();
        new
    }
}

fn event(name: &str, content: &impl Serialize) -> Told {
    Event::default().event(name).json_data(content)
}
