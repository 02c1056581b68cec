//! The classes: fraction of samples that the filter accepts, and the precision of their pseudo-labels.

use crate::watch::app::App;
use crate::watch::style::{FAINT, gauge, pane, titled};
use crate::watch::units;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::text::{Line, Span};
use sluicebox_core::report::{ClassMeters, Named, grouped};

/// Widest class name, in columns.
const NAME: usize = 14;
/// Columns beside the name that are not bars: pseudo-label count, two percentages, accuracy.
const NUMBERS: usize = 28;
/// Longest bar, in columns.
const BAR: usize = 40;

/// Draws one line per class, starting at class `from`.
pub fn draw(frame: &mut Frame, area: Rect, app: &App, from: usize) {
    let Some(report) = &app.scene.report else { return };
    if area.height < 2 {
        return;
    }
    let legend = Span::styled(format!("{} in all; ┃ threshold ", report.classes.len()), FAINT);
    let inner = pane(frame, area, titled("classes", vec![legend]));
    if report.classes.is_empty() {
        let text = "no numbers of classes for this epoch: they are unknown, or no longer kept";
        frame.render_widget(Line::styled(text, FAINT), inner);
        return;
    }
    let name =
        report.classes.iter().map(|class| Span::raw(&class.name).width()).max().unwrap_or(0).clamp(5, NAME);
    let bar = ((inner.width as usize).saturating_sub(name + NUMBERS) / 2).min(BAR);
    let heading = format!(
        "{:name$} {:>7} {:<w$} {:<w$} {:>6}",
        "class",
        "judged",
        "accepted",
        "precision",
        "acc.",
        w = bar + 6
    );
    frame.render_widget(Line::styled(heading, FAINT), inner);
    let room = inner.height.saturating_sub(1) as usize;
    let from = from.min(report.classes.len().saturating_sub(room));
    for (at, class) in report.classes.iter().skip(from).take(room).enumerate() {
        let row = Rect { y: inner.y + 1 + at as u16, height: 1, ..inner };
        frame.render_widget(line(class, name, bar, app.fractions), row);
    }
}

fn line(class: &Named<ClassMeters>, name: usize, bar: usize, fractions: bool) -> Line<'static> {
    let meters = &class.meters;
    let precision = meters.pseudo_label_precision.or(meters.ledger_precision);
    let judged = meters.judged.map_or(units::UNKNOWN.into(), |judged| match judged < 1e5 {
        true => grouped(judged),
        false => units::short(judged),
    });
    let mut spans = vec![Span::raw(format!("{} {judged:>7} ", fitted(&class.name, name)))];
    spans.extend(gauge(meters.accepted_fraction, meters.threshold, bar, Color::Cyan));
    spans.push(Span::raw(format!(" {:>4} ", units::share(meters.accepted_fraction, fractions))));
    spans.extend(gauge(precision, None, bar, Color::Green));
    spans.push(Span::raw(format!(" {:>4} ", units::share(precision, fractions))));
    spans.push(Span::raw(format!("{:>6}", units::share(meters.accuracy, fractions))));
    Line::from(spans)
}

/// Cuts or pads a name to exactly `width` columns.
fn fitted(name: &str, width: usize) -> String {
    let mut text = String::new();
    for letter in name.chars().filter(|letter| !letter.is_control()) {
        if Span::raw(&text).width() + Span::raw(letter.to_string()).width() > width {
            break;
        }
        text.push(letter);
    }
    let rest = width - Span::raw(&text).width();
    text + &" ".repeat(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_whatever_they_are() {
        assert_eq!(fitted("cat", 5), "cat  ");
        assert_eq!(fitted("aeroplane", 5), "aerop");
        assert_eq!(fitted("日本語", 5), "日本 ");
        assert_eq!(fitted("\u{1b}[2J", 5), "[2J  ");
    }
}
