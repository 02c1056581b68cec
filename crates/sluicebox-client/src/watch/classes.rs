//! The classes: fraction of samples that the filter accepts, and the precision of their pseudo-labels.

use crate::watch::app::App;
use crate::watch::screen::{FAINT, pane, titled};
use crate::watch::units;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
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
    let legend = Span::styled(format!("{} of them; ┃ threshold ", report.classes.len()), FAINT);
    let inner = pane(frame, area, titled("classes", vec![legend]));
    if report.classes.is_empty() {
        let text = "what is known of classes is no longer kept for this epoch, or not known";
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

    #[test]
    fn names_fit_whatever_they_are() {
        assert_eq!(fitted("cat", 5), "cat  ");
        assert_eq!(fitted("aeroplane", 5), "aerop");
        assert_eq!(fitted("日本語", 5), "日本 ");
        assert_eq!(fitted("\u{1b}[2J", 5), "[2J  ");
    }
}
