//! `GET /events`: server-sent events. A client receives the newest state several times a second; a
//! slow client misses events in between, and nothing is kept for it.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sluicebox_core::report::{Line, Mark, Progress, Report};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;

/// Interval between checks for news.
const LOOK: Duration = Duration::from_millis(250);
/// Interval of keep-alive comments on an idle stream.
const ALIVE: Duration = Duration::from_secs(15);
/// Capacity of a client's queue of events.
const ON_THE_WAY: usize = 4;

/// Opens a stream: first the newest report and progress, then each new `report`, `line`, `mark` and
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
    tokio::spawn(EventStream::new(&shared, events, place).run());
    Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

type Sent = Result<Event, axum::Error>;

/// Sends events to one client.
struct EventStream {
    shared: Arc<Shared>,
    reports: watch::Receiver<Option<Arc<Report>>>,
    lines: watch::Receiver<VecDeque<Arc<Line>>>,
    newest_line: Option<Arc<Line>>,
    marks: watch::Receiver<VecDeque<Arc<Mark>>>,
    newest_mark: Option<Arc<Mark>>,
    progress: Option<Progress>,
    events: mpsc::Sender<Sent>,
    _place: OwnedSemaphorePermit,
}

impl EventStream {
    fn new(shared: &Arc<Shared>, events: mpsc::Sender<Sent>, place: OwnedSemaphorePermit) -> Self {
        let (mut reports, lines) = (shared.status.reports(), shared.status.lines());
        reports.mark_changed();
        let newest_line = lines.borrow().front().cloned();
        let marks = shared.status.marks();
        let newest_mark = marks.borrow().front().cloned();
        let shared = shared.clone();
        Self {
            shared,
            reports,
            lines,
            newest_line,
            marks,
            newest_mark,
            progress: None,
            events,
            _place: place,
        }
    }

    /// Sends events until the client disconnects or the server ends; in that case, once more at the
    /// end.
    async fn run(mut self) {
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
            let events = self.look();
            let send = async {
                for event in events {
                    self.events.send(event).await.ok()?;
                }
                Some(())
            };
            let sent = tokio::select! {
                sent = send => sent,
                _ = open.changed(), if !over => None, // and this client does not read
            };
            if over || sent.is_none() {
                return;
            }
        }
    }

    /// Returns the new events.
    fn look(&mut self) -> Vec<Sent> {
        let mut events = Vec::new();
        if self.reports.has_changed().unwrap_or(false)
            && let Some(report) = self.reports.borrow_and_update().clone()
        {
            events.push(event("report", &*report).map(|event| event.id(report.epoch.to_string())));
        }
        for line in new(&mut self.lines, &mut self.newest_line) {
            events.push(event("line", &*line));
        }
        for mark in new(&mut self.marks, &mut self.newest_mark) {
            events.push(event("mark", &*mark));
        }
        let progress = self.shared.status.progress();
        if self.progress != Some(progress) {
            self.progress = Some(progress);
            events.push(event("progress", &progress));
        }
        events
    }
}

/// Returns what is new since the last check, as far as it is kept, oldest first.
fn new<T>(all: &mut watch::Receiver<VecDeque<Arc<T>>>, newest: &mut Option<Arc<T>>) -> Vec<Arc<T>> {
    if !all.has_changed().unwrap_or(false) {
        return Vec::new();
    }
    let kept = all.borrow_and_update();
    let is_known = |one: &&Arc<T>| newest.as_ref().is_some_and(|old| Arc::ptr_eq(old, one));
    let mut new: Vec<Arc<T>> = kept.iter().take_while(|one| !is_known(one)).cloned().collect();
    *newest = kept.front().cloned();
    new.reverse();
    new
}

fn event(name: &str, content: &impl Serialize) -> Sent {
    Event::default().event(name).json_data(content)
}
