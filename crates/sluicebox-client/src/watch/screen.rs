//! Layout of the screen, from 40 columns and 10 lines.

use crate::watch::app::App;
use crate::watch::scene::Link;
use crate::watch::style::FAINT;
use crate::watch::view::View;
use crate::watch::{charts, classes, flow, head, help, log, numbers, verdicts};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

/// Smallest usable screen: columns, lines.
const LEAST: (u16, u16) = (40, 10);
/// From this width in columns panes stand side by side: the dataflow then has room for a drawing.
const WIDE: u16 = 132;
/// Lines of the charts in the overview.
const CHART: u16 = 8;
/// Columns of the classes beside the dataflow.
const CLASSES: u16 = 52;

/// Columns of the text printed by `--once`.
pub const PAGE: u16 = WIDE;
/// Lines of the overview in that text.
const OVERVIEW: u16 = 41;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, app: &App) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "{}x{} is too small: at least {}x{} is needed. q quits.",
            area.width, area.height, LEAST.0, LEAST.1
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let rows = [Constraint::Length(2), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
    let [top, tabs, body, bottom] = Layout::vertical(rows).areas(area);
    head::draw(frame, top, app);
    draw_tabs(frame, tabs, app.view);
    match app.view {
        _ if app.scene.report.is_none() && app.view != View::Log => nothing_yet(frame, body),
        View::All => all(frame, body, app),
        View::Charts => charts::every(frame, body, app),
        View::Flow => flow::whole(frame, body, app),
        View::Classes => classes::draw(frame, body, app, app.scroll),
        View::Log => log::draw(frame, body, app, app.scroll),
        View::Numbers => numbers::draw(frame, body, app),
    }
    draw_bottom(frame, bottom, app);
    if app.help {
        help::draw(frame, body);
    }
}

fn nothing_yet(frame: &mut Frame, area: Rect) {
    let text = "No epoch is done yet: the first report is made at the end of the first epoch.";
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).style(FAINT), area);
}

/// Draws the overview and every meter below it, as printed by `--once`.
pub fn page(frame: &mut Frame, app: &App) {
    let rows = [Constraint::Length(2), Constraint::Length(OVERVIEW), Constraint::Fill(1)];
    let [top, middle, rest] = Layout::vertical(rows).areas(frame.area());
    head::draw(frame, top, app);
    match app.scene.report.is_some() {
        true => all(frame, middle, app),
        false => nothing_yet(frame, middle),
    }
    numbers::draw(frame, rest, app);
}

/// Returns the number of lines of that text, at [`PAGE`] columns.
pub fn page_height(app: &App) -> u16 {
    2 + OVERVIEW + 1 + numbers::lines(app, PAGE).len() as u16
}

/// Draws the overview: verdicts, charts, dataflow, classes and log, as far as they fit.
fn all(frame: &mut Frame, area: Rect, app: &App) {
    let rows = [Constraint::Length(verdicts::height(app)), Constraint::Fill(1)];
    let [first, area] = Layout::vertical(rows).areas(area);
    verdicts::draw(frame, first, app);
    let wide = area.width >= WIDE;
    let drawing = flow::height(area.width - if wide { CLASSES } else { 0 }, app);
    let spare = area.height.saturating_sub(CHART + drawing);
    // The spare lines are split between the log, the classes and the charts.
    let log = if spare >= 4 { (spare / 2).clamp(4, 12) } else { spare };
    let classes = if !wide && spare >= 16 { (spare - log) / 2 } else { 0 };
    let rows = [
        Constraint::Fill(1),
        Constraint::Length(drawing.min(area.height.saturating_sub(CHART))),
        Constraint::Length(classes),
        Constraint::Length(log),
    ];
    let [top, middle, third, bottom] = Layout::vertical(rows).areas(area);
    charts::few(frame, top, app, if wide { 3 } else { 2 });
    if wide {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(CLASSES)]).spacing(1).areas(middle);
        flow::draw(frame, left, app);
        classes::draw(frame, right, app, 0);
    } else {
        flow::draw(frame, middle, app);
        classes::draw(frame, third, app, 0);
    }
    log::draw(frame, bottom, app, 0);
}

fn draw_tabs(frame: &mut Frame, area: Rect, shown: View) {
    let tabs = View::EVERY.iter().enumerate().flat_map(|(at, view)| {
        let style = if *view == shown { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        [Span::styled(format!(" {} {} ", at + 1, view.name()), style), Span::raw(" ")]
    });
    frame.render_widget(Line::from_iter(tabs), area);
}

/// Draws the question, the last message, the connection error, or the keys.
fn draw_bottom(frame: &mut Frame, area: Rect, app: &App) {
    let line = match (&app.question, &app.notice, &app.scene.link) {
        (Some(command), ..) => {
            let text =
                format!(" {} the job {}? y: yes, any other key: no", command.question(), app.scene.about.job);
            Line::styled(text, Style::new().fg(Color::Yellow).add_modifier(Modifier::REVERSED))
        }
        (_, Some(notice), _) => Line::styled(format!(" {notice}"), Style::new().fg(Color::Yellow)),
        (_, _, Link::Lost(reason)) if !app.scene.is_over() => {
            Line::styled(format!(" {reason}"), Style::new().fg(Color::Red))
        }
        _ => Line::styled(
            " ? help  q quit  Tab view  ←→ epoch  End newest  space hold  u f units  +- zoom",
            FAINT,
        ),
    };
    frame.render_widget(line, area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::job_view::Command;
    use crate::watch::reader::Reader;
    use crate::watch::sample::Script;
    use crate::watch::scene::{Look, Scene};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use sluicebox_core::report::{About, Report};
    use std::sync::Arc;

    fn app(view: View) -> App {
        let look = Look { at: None, until: None, epochs: None, points: 100 };
        let mut reader = Reader::new(Box::new(Script::new(12)), look).unwrap();
        App { scene: reader.read().unwrap().clone(), view, ..App::default() }
    }

    fn text(app: &App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>() + "\n";
        (0..height).map(row).collect()
    }

    #[track_caller]
    fn shows(text: &str, wanted: &[&str]) {
        wanted.iter().for_each(|wanted| assert!(text.contains(wanted), "no `{wanted}` in\n{text}"));
    }

    #[test]
    fn a_small_terminal_shows_what_counts() {
        let shown = text(&app(View::All), 80, 24);
        shows(&shown, &["digits", "fixmatch", "cpu", "epoch 13", "62/100", "32.0k/s", "97.4 %", "running"]);
        shows(&shown, &["32,000 samples/s", "learn 61 %", "97.4 % right", "not checked", "Drift"]);
        shows(&shown, &["source─►batch", "report─►commit", "credit wait 12.0 %"]);
        shows(&text(&app(View::Flow), 80, 24), &["weights", "credit", "ledger"]);
        shows(&shown, &["throughput", "accuracy", "prequential", "62%", "1 all", "? help"]);
    }

    #[test]
    fn a_large_terminal_shows_all_of_it() {
        let shown = text(&app(View::All), 200, 60);
        shows(&shown, &["filter", "accepted", "classes", "precision", "99%", "┃", "log", "the disk is full"]);
    }

    #[test]
    fn each_view_fills_a_small_terminal() {
        shows(&text(&app(View::Charts), 80, 24), &["throughput", "accuracy", "filter", "waiting", "loss"]);
        shows(
            &text(&app(View::Flow), 80, 24),
            &["teach", "µs each", "19.6", "credit wait", "idle", "window fill"],
        );
        shows(&text(&app(View::Classes), 80, 24), &["1,280", "accepted", "precision", "95%", "99%"]);
        shows(&text(&app(View::Log), 80, 24), &["01:01:01", "info", "a row is bad"]);
        shows(
            &text(&app(View::Numbers), 80, 24),
            &["samples/s", "Samples per second that went through", "–"],
        );
    }

    #[test]
    fn states_questions_and_losses_are_told() {
        let mut app = app(View::All);
        app.scene.progress.as_mut().unwrap().paused = true;
        shows(&text(&app, 80, 24), &["job paused"]);
        app.scene.progress.as_mut().unwrap().over = true;
        shows(&text(&app, 80, 24), &["job over"]);
        app.scene.progress = None;
        shows(&text(&app, 80, 24), &["recorded"]);
        app.scene.link = Link::Lost("127.0.0.1:1: connection refused".into());
        shows(&text(&app, 80, 24), &["connection lost", "connection refused"]);
        app.question = Some(Command::Pause);
        shows(&text(&app, 80, 24), &["Pause the job digits? y"]);
        app.question = None;
        app.help = true;
        shows(&text(&app, 80, 24), &["PgUp", "Ctrl-C"]);
    }

    #[test]
    fn what_is_not_known_is_a_dash_or_said() {
        let mut app = App::default();
        shows(&text(&app, 80, 24), &["No epoch is done yet"]);
        app.scene.span = Some((1, 1));
        app.scene.report = Some(Arc::new(Report { epoch: 1, ..Report::default() }));
        shows(&text(&app, 80, 24), &["throughput", "–"]);
        for view in View::EVERY {
            app.view = view;
            text(&app, 80, 24);
        }
    }

    #[test]
    fn no_size_is_too_much() {
        let full = app(View::All);
        let odd = Scene {
            about: Arc::new(About {
                edges: vec![
                    ("a".into(), "b".into(), false),
                    ("b".into(), "a".into(), false),
                    ("é\u{1b}".into(), "a".into(), true),
                ],
                ..About::default()
            }),
            ..full.scene.clone()
        };
        for width in (1..=200).step_by(3).chain([40, 72, 80, 120, 160, 200]) {
            for height in (1..=60).step_by(2).chain([10, 24, 60]) {
                for view in View::EVERY {
                    text(&App { view, help: width % 2 == 0, ..full.clone() }, width, height);
                }
                text(&App { scene: odd.clone(), ..full.clone() }, width, height);
            }
        }
        shows(&text(&full, 20, 5), &["too small"]);
    }
}
