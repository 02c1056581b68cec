//! Every number of the job: what it is, whether it gets better, and what it means.

use super::app::App;
use super::screen::{FAINT, STRONG, pane, titled};
use super::units;
use crate::report::{Better, JobMeters, Meter, Meters};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

/// Columns of a name and of a value.
const COLUMNS: (usize, usize) = (28, 13);

/// A line a number, by group.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    let lines = lines(app);
    let note = "▲▼ against the epochs before; ↑↓ scroll ";
    let inner = pane(frame, area, titled("numbers", vec![Span::styled(note, FAINT)]));
    let room = inner.height as usize;
    let from = app.scroll.min(lines.len().saturating_sub(room));
    for (at, line) in lines.into_iter().skip(from).take(room).enumerate() {
        frame.render_widget(line, Rect { y: inner.y + at as u16, height: 1, ..inner });
    }
}

/// All lines.
pub fn lines(app: &App) -> Vec<Line<'static>> {
    let Some(report) = &app.scene.report else { return Vec::new() };
    let before = app.scene.series.iter().rev().find(|point| point.last_epoch < report.epoch);
    let before = before.map_or(JobMeters::default(), |point| point.mean.clone()).values();
    let mut lines = Vec::new();
    let mut group = None;
    for ((meter, value), before) in JobMeters::METERS.iter().zip(report.job.values()).zip(before) {
        if group.replace(meter.group) != Some(meter.group) {
            lines.push(Line::styled(format!(" {:?}", meter.group), STRONG));
        }
        lines.push(line(meter, value, before, app.fractions));
    }
    lines
}

fn line(meter: &Meter, value: Option<f64>, before: Option<f64>, fractions: bool) -> Line<'static> {
    let (arrow, style) = trend(meter.better, value, before);
    let text = units::text(value, meter.unit, fractions);
    Line::from_iter([
        Span::raw(format!("  {:<w$} {text:>v$} ", units::title(meter), w = COLUMNS.0, v = COLUMNS.1)),
        Span::styled(arrow, style),
        Span::styled(format!(" {}", meter.help), FAINT),
    ])
}

/// An arrow, green where that is the better way and red where it is the worse.
fn trend(better: Better, value: Option<f64>, before: Option<f64>) -> (&'static str, Style) {
    let (Some(value), Some(before)) = (value, before) else { return (" ", FAINT) };
    let up = value > before;
    let arrow = match value == before {
        true => " ",
        false if up => "▲",
        false => "▼",
    };
    let colour = match better {
        Better::Neither => return (arrow, FAINT),
        Better::Higher if up => Color::Green,
        Better::Lower if !up => Color::Green,
        _ => Color::Red,
    };
    (arrow, Style::new().fg(colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_follow_what_is_better() {
        let colour = |better, value, before| trend(better, Some(value), Some(before)).1.fg;
        assert_eq!(colour(Better::Higher, 2.0, 1.0), Some(Color::Green));
        assert_eq!(colour(Better::Lower, 2.0, 1.0), Some(Color::Red));
        assert_eq!(colour(Better::Lower, 1.0, 2.0), Some(Color::Green));
        assert_eq!(trend(Better::Higher, Some(1.0), None).0, " ");
        assert_eq!(trend(Better::Neither, Some(1.0), Some(2.0)).0, "▼");
    }
}
