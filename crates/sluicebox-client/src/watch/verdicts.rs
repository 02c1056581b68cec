//! The verdicts on the epoch shown: a line each.

use crate::watch::app::App;
use crate::watch::style::FAINT;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use sluicebox_observe::verdict::{TITLE_COLUMNS, Tone, Verdict};

/// Returns the number of lines that they need.
pub fn height(app: &App) -> u16 {
    app.scene.verdicts.len() as u16
}

/// Draws as many as fit. What is too long for a line loses its end, never its answer.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    for (verdict, row) in app.scene.verdicts.iter().zip(area.rows()) {
        frame.render_widget(line(verdict, area.width as usize), row);
    }
}

fn line(verdict: &Verdict, width: usize) -> Line<'static> {
    let colour = match verdict.tone {
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Look => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
        Tone::Unknown => FAINT,
        Tone::Plain => Style::new(),
    };
    let title = format!(" {:TITLE_COLUMNS$}  ", verdict.title);
    let mut line = Line::from(vec![
        Span::styled(title, FAINT),
        Span::styled("● ", colour),
        Span::styled(verdict.head.clone(), colour.add_modifier(Modifier::BOLD)),
    ]);
    let room = width.saturating_sub(line.width() + 2);
    if let Some(more) = verdict.more_within(room) {
        line.push_span(Span::raw(format!("  {more}")));
    }
    line
}
