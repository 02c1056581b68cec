//! The help box with the keys.

use crate::watch::screen::STRONG;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

const KEYS: [(&str, &str); 15] = [
    ("Tab, 1-6", "next view, that view"),
    ("← →", "an epoch back, forth"),
    ("PgUp PgDn", "a tenth of the chart back, forth; a page of the log"),
    ("Home", "the first epoch that is known"),
    ("End", "follow the newest epoch again"),
    ("space", "hold the view (not the job), or follow again"),
    ("+ -", "fewer, more epochs in the charts"),
    ("↑ ↓", "scroll the log, classes and numbers"),
    ("l", "the log"),
    ("u", "samples/s, steps/s, student samples/s, arriving/s"),
    ("f", "shares as fractions, as percent"),
    ("P", "pause the job, or let it go on; asks first"),
    ("C", "write a checkpoint now; asks first"),
    ("?", "this; any key closes it"),
    ("q, Esc, Ctrl-C", "quit; the job goes on"),
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
