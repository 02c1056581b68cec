//! The job's log.

use crate::watch::app::App;
use crate::watch::style::{FAINT, pane, titled};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

/// Draws the newest lines at the bottom, scrolled back by `back` lines.
pub fn draw(frame: &mut Frame, area: Rect, app: &App, back: usize) {
    if area.height == 0 {
        return;
    }
    let lines = &app.scene.lines;
    let room = area.height as usize - 1;
    let last = lines.len() - back.min(lines.len().saturating_sub(room));
    let place = match back {
        0 => String::new(),
        _ => format!("to line {last} of {} ", lines.len()),
    };
    let inner = pane(frame, area, titled("log", vec![Span::styled(place, FAINT)]));
    if lines.is_empty() {
        frame.render_widget(Line::styled(" no log lines yet", FAINT), inner);
    }
    for (at, line) in lines[last.saturating_sub(room)..last].iter().enumerate() {
        let row = Rect { y: inner.y + at as u16, height: 1, ..inner };
        let colour = match line.level.as_str() {
            "error" => Style::new().fg(Color::Red),
            "warn" => Style::new().fg(Color::Yellow),
            _ => Style::new(),
        };
        let spans = [
            Span::styled(format!(" {} ", time(line.at_ms)), FAINT),
            Span::styled(format!("{:<5} ", line.level), colour),
            Span::styled(format!("{} ", line.module.trim_start_matches("sluicebox::")), FAINT),
            Span::raw(line.text.clone()),
        ];
        frame.render_widget(Line::from_iter(spans), row);
    }
}

/// Returns the time of day, UTC.
fn time(ms: u64) -> String {
    let seconds = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
