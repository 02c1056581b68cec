//! Every meter of the job: value, trend and meaning.

use crate::watch::app::App;
use crate::watch::style::{FAINT, STRONG, pane, titled};
use crate::watch::units;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use sluicebox_core::report::{Better, JobMeters, Meter, Meters};

/// Columns of a name and of a value.
const COLUMNS: (usize, usize) = (27, 10);
/// From this width in columns the meaning stands beside the value, otherwise below it.
const WIDE: u16 = 124;

/// Indent of a meaning below its value.
const INDENT: &str = "      ";

/// Draws one line per meter, by group.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    let lines = lines(app, area.width);
    let note = "▲▼ change since the previous point; ↑↓ scroll ";
    let inner = pane(frame, area, titled("numbers", vec![Span::styled(note, FAINT)]));
    let room = inner.height as usize;
    let from = app.scroll.min(lines.len().saturating_sub(room));
    for (at, line) in lines.into_iter().skip(from).take(room).enumerate() {
        frame.render_widget(line, Rect { y: inner.y + at as u16, height: 1, ..inner });
    }
}

/// Returns all lines for a given width in columns.
pub fn lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let Some(report) = &app.scene.report else { return Vec::new() };
    let before = app.scene.series.iter().rev().find(|point| point.last_epoch < report.epoch);
    let before = before.map_or(JobMeters::default(), |point| point.mean.clone()).values();
    let mut lines = Vec::new();
    let mut group = None;
    for ((meter, value), before) in JobMeters::METERS.iter().zip(report.job.values()).zip(before) {
        if group.replace(meter.group) != Some(meter.group) {
            lines.push(Line::styled(format!(" {:?}", meter.group), STRONG));
        }
        let mut line = line(meter, value, before, app.fractions);
        if width >= WIDE {
            line.push_span(Span::styled(meter.help, FAINT));
        }
        lines.push(line);
        if width < WIDE {
            let room = (width as usize).saturating_sub(INDENT.len());
            lines.extend(folded(meter.help, room).map(|text| Line::styled(format!("{INDENT}{text}"), FAINT)));
        }
    }
    lines
}

fn line(meter: &Meter, value: Option<f64>, before: Option<f64>, fractions: bool) -> Line<'static> {
    let (arrow, style) = trend(meter.better, value, before);
    let text = units::text(value, meter.unit, fractions);
    Line::from_iter([
        Span::raw(format!("  {:<w$} {text:>v$} ", meter.label(), w = COLUMNS.0, v = COLUMNS.1)),
        Span::styled(format!("{arrow} "), style),
    ])
}

/// Wraps a text at `width` letters; a longer word gets its own line.
fn folded(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| line.is_empty() || line.len() + 1 + word.len() <= width);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.to_string()),
        }
    }
    lines.into_iter()
}

/// Returns an arrow for the change: green for an improvement, red for the opposite.
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
    fn meanings_fit_their_columns() {
        let folded = |text, width| folded(text, width).collect::<Vec<_>>();
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
        assert_eq!(folded("one", 0), ["one"]);
    }

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
