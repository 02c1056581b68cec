//! The top two lines: job, state, progress, throughput and accuracy.

use crate::watch::app::App;
use crate::watch::scene::Link;
use crate::watch::style::{FAINT, STRONG};
use crate::watch::units;
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use sluicebox_core::report::{JobMeters, Meters};
use std::time::{Duration, SystemTime};

/// Cells of the progress bar.
const BAR: u64 = 12;
/// Meters of the second line, after the throughput.
const SHOWN: [&str; 4] = ["accuracy", "network_accuracy", "accepted_fraction", "prequential_accuracy"];

/// Draws the two lines.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    let about = &app.scene.about;
    let mut name = vec![Span::styled(format!(" {}", about.job), STRONG)];
    for more in [&about.method, &about.device].into_iter().filter(|more| !more.is_empty()) {
        name.push(Span::raw(format!(" · {more}")));
    }
    let first = Rect { height: 1.min(area.height), ..area };
    frame.render_widget(Line::from(name), first);
    let state = state(app);
    let width = (state.width() as u16).min(area.width);
    let right = Rect { x: area.right() - width, width, ..first };
    frame.render_widget(Paragraph::new(state).alignment(Alignment::Right), right);
    let second = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    frame.render_widget(progress(app, area.width as usize), second);
}

/// Returns the state of the job or of the connection.
fn state(app: &App) -> Line<'static> {
    let (text, colour) = match (&app.scene.link, app.scene.progress) {
        _ if app.scene.is_over() => ("job over".into(), Color::Blue),
        (Link::Lost(_), _) => ("connection lost, retrying".into(), Color::Red),
        (_, None) => (recorded(app), Color::Blue),
        (_, Some(progress)) if progress.paused => ("job paused".into(), Color::Yellow),
        _ => ("running".into(), Color::Green),
    };
    Line::from(Span::styled(format!("● {text} "), Style::new().fg(colour)))
}

/// Returns the age of the newest data in a state folder.
fn recorded(app: &App) -> String {
    let newest = app.scene.series.last().map(|point| point.ended_ms).filter(|ms| *ms > 0);
    let newest = newest.or(app.scene.report.as_ref().map(|report| report.ended_ms));
    let at = newest.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    match at.and_then(|at| SystemTime::now().duration_since(at).ok()) {
        Some(age) => format!("recorded {} ago", units::duration(age.as_secs() as f64)),
        None => "recorded".into(),
    }
}

/// Returns the epoch, its progress, and as many meters as fit.
fn progress(app: &App, width: usize) -> Line<'static> {
    let scene = &app.scene;
    let mut spans = Vec::new();
    let newest = scene.span.map_or(0, |(_, newest)| newest);
    match (&scene.report, scene.progress) {
        (Some(report), _) if app.is_still() => {
            let text = format!(" epoch {} held (newest {newest})", report.epoch);
            spans.push(Span::styled(text, Style::new().fg(Color::Yellow)));
        }
        (_, Some(progress)) => {
            let of = match scene.about.stop_epochs {
                0 => String::new(),
                epochs => format!(" of {epochs}"),
            };
            let done = progress.done.min(progress.of);
            let filled = (BAR * done).checked_div(progress.of).unwrap_or(0) as usize;
            spans.push(Span::raw(format!(" epoch {}{of} ", progress.epoch)));
            spans.push(Span::styled("━".repeat(filled), Style::new().fg(Color::Cyan)));
            spans.push(Span::styled("─".repeat(BAR as usize - filled), FAINT));
            spans.push(Span::raw(format!(" {done}/{}", progress.of)));
        }
        _ => spans.push(Span::raw(format!(" epoch {newest}"))),
    }
    let mut line = Line::from(spans);
    let Some(report) = &scene.report else { return line };
    for name in std::iter::once(app.rate()).chain(SHOWN) {
        let Some(meter) = JobMeters::meter(name) else { continue };
        let value = units::value(&report.job, name, app.fractions);
        // Avoids `samples/s 31.2k/s`.
        let title = meter.label();
        let title = Span::styled(format!("  {} ", title.trim_end_matches("/s")), FAINT);
        let value = Span::styled(value, STRONG);
        if line.width() + title.width() + value.width() <= width {
            line.push_span(title);
            line.push_span(value);
        }
    }
    line
}
