//! Styles, titles and bars that several panes share.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

/// Style of secondary text.
pub const FAINT: Style = Style::new().fg(Color::DarkGray);
/// Style of emphasised text.
pub const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws a line with a title, and returns the area below it.
pub fn pane(frame: &mut Frame, area: Rect, title: Line) -> Rect {
    let block = Block::new().borders(Borders::TOP).border_style(FAINT).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// Returns the title of a pane: its name, then `rest`.
pub fn titled<'a>(name: &'a str, rest: Vec<Span<'a>>) -> Line<'a> {
    let mut spans = vec![Span::styled(format!(" {name} "), STRONG)];
    spans.extend(rest);
    Line::from(spans)
}

/// Returns a bar of `width` columns filled up to `value` (0 to 1), with a mark at `mark`.
pub fn gauge(value: Option<f64>, mark: Option<f64>, width: usize, colour: Color) -> Vec<Span<'static>> {
    let cells = |share: f64| (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let filled = value.map_or(0, cells);
    let mark = mark.filter(|mark| mark.is_finite()).map(|mark| cells(mark).min(width.saturating_sub(1)));
    let filled_style = Style::new().fg(colour);
    let cell = |at: usize| match at {
        _ if Some(at) == mark => Span::styled("┃", Style::new().fg(Color::Yellow)),
        _ if at < filled => Span::styled("█", filled_style),
        _ => Span::styled("·", FAINT),
    };
    (0..width).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        let text = |value, mark| {
            gauge(value, mark, 8, Color::Cyan).iter().map(|span| span.content.to_string()).collect::<String>()
        };
        assert_eq!(text(Some(0.5), None), "████····");
        assert_eq!(text(Some(2.0), Some(1.0)), "███████┃");
        assert_eq!(text(None, Some(0.25)), "··┃·····");
        assert_eq!(text(Some(f64::NAN), Some(f64::NAN)), "········");
        assert!(gauge(Some(0.5), Some(0.5), 0, Color::Cyan).is_empty());
    }
}
