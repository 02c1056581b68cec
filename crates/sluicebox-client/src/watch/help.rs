//! The help box with the keys.

use crate::watch::style::STRONG;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

const KEYS: [(&str, &str); 15] = [
    ("Tab, 1-6", "next view, view 1 to 6"),
    ("← →", "previous epoch, next epoch"),
    ("PgUp PgDn", "back, forward: a tenth of the chart, or a page of the log"),
    ("Home", "the first recorded epoch"),
    ("End", "follow the newest epoch"),
    ("space", "hold this epoch (the job runs on), or follow the newest"),
    ("+ -", "fewer epochs, more epochs in the charts"),
    ("↑ ↓", "scroll the log, classes and numbers"),
    ("l", "the log"),
    ("u", "next rate: samples/s, steps/s, student samples/s, arriving/s"),
    ("f", "fractions as 0.97 or as 97 %"),
    ("P", "pause or resume the job; asks first"),
    ("C", "write a checkpoint now; asks first"),
    ("?", "this help; any key closes it"),
    ("q, Esc, Ctrl-C", "quit; the job runs on"),
];

/// Draws the box over `area`.
pub fn draw(frame: &mut Frame, area: Rect) {
    let lines = KEYS.map(|(key, meaning)| {
        Line::from(vec![Span::styled(format!(" {key:<15}"), STRONG), Span::raw(format!("{meaning} "))])
    });
    let width = (lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 2).min(area.width);
    let height = (lines.len() as u16 + 2).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let place = Rect { x, y, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title(" keys ")), place);
}
