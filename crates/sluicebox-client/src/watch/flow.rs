//! Drawing of the dataflow: speed of each operator, where the time goes, and the waits.

use crate::watch::app::App;
use crate::watch::graph::{Beside, Graph};
use crate::watch::style::{FAINT, STRONG, gauge, pane, titled};
use crate::watch::units;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use sluicebox_core::report::{JobMeters, Meters, Named, OperatorMeters, Report, Unit, WorkerMeters};

/// Columns of the row names.
const LEGEND: u16 = 7;
/// Least and most columns of an operator.
const COLUMN: (u16, u16) = (8, 16);
/// Left eighths of a cell.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Meters of waiting time in the title.
const WAITS: [&str; 3] = ["credit_wait_fraction", "source_wait_fraction", "idle_fraction"];
/// Meters shown below the drawing where there is room.
const MORE: [&str; 7] = [
    "credit_wait_fraction",
    "source_wait_fraction",
    "idle_fraction",
    "paused_fraction",
    "window_fill",
    "log_fill",
    "gpu_busy_fraction",
];

/// Returns the number of lines that the drawing needs at `width` columns.
pub fn height(width: u16, app: &App) -> u16 {
    let Some(report) = &app.scene.report else { return 1 };
    let graph = Graph::new(&app.scene.about, report);
    match column(width, &graph) {
        None => report.operators.len() as u16 + 2,
        Some(_) => {
            let beside = if graph.beside.is_empty() { 0 } else { graph.beside.len() as u16 + 1 };
            let loops = if graph.loops.is_empty() { 0 } else { graph.loops.len() as u16 + 1 };
            3 + beside + loops + OperatorMeters::METERS.len() as u16
        }
    }
}

/// Returns the columns of an operator; none where there are too few for a drawing.
fn column(width: u16, graph: &Graph) -> Option<u16> {
    let each = width.saturating_sub(LEGEND).checked_div(graph.line.len() as u16)?;
    (each >= COLUMN.0).then_some(each.min(COLUMN.1))
}

/// Draws the dataflow, and below it the waits, sources and refusal reasons.
pub fn whole(frame: &mut Frame, area: Rect, app: &App) {
    let Some(report) = &app.scene.report else { return };
    let rows = [Constraint::Length(height(area.width, app)), Constraint::Fill(1)];
    let [top, rest] = Layout::vertical(rows).areas(area);
    draw(frame, top, app);
    if rest.height == 0 {
        return;
    }
    let inner = pane(frame, rest, titled("waiting and capacity", Vec::new()));
    let shares = MORE.iter().filter_map(|name| {
        let meter = JobMeters::meter(name)?;
        let value = report.job.value(name);
        let mut spans = vec![Span::raw(format!(" {:<20} ", meter.label()))];
        spans.extend(gauge(value, None, 16, Color::Yellow));
        spans.push(Span::raw(format!(" {:>7} ", units::text(value, meter.unit, app.fractions))));
        spans.push(Span::styled(meter.help, FAINT));
        Some(Line::from(spans))
    });
    let slowest = slowest(&report.workers);
    let workers = report.workers.iter().enumerate().map(|(at, worker)| {
        let value = |name| units::value(&worker.meters, name, app.fractions);
        let exchanged = worker.meters.exchanged_per_step_mib;
        let exchanged =
            exchanged.map(|_| format!(", exchanges {} per step", value("exchanged_per_step_mib")));
        Line::raw(format!(
            " worker {}: samples {}, busy {}, waits for others {}{}{}",
            worker.name,
            value("samples_per_s"),
            value("busy_fraction"),
            value("wait_fraction"),
            exchanged.unwrap_or_default(),
            if Some(at) == slowest { "  ◂ slowest" } else { "" }
        ))
    });
    let sources = report.sources.iter().map(|source| {
        let value = |name| units::value(&source.meters, name, app.fractions);
        let lag = source.meters.consumer_lag.map(|_| format!(", {} wait", value("consumer_lag")));
        Line::raw(format!(
            " source {}: {} samples, {} dead letters{}",
            source.name,
            value("samples"),
            value("dead_letters"),
            lag.unwrap_or_default()
        ))
    });
    let reasons = report.reasons.iter().map(|reason| {
        Line::raw(format!(" refused: {}: {}", reason.name, units::value(&reason.meters, "refused", false)))
    });
    let lines: Vec<Line> = shares.chain(workers).chain(sources).chain(reasons).collect();
    frame.render_widget(ratatui::text::Text::from(lines), inner);
}

/// Returns the place of the worker that waits least for the others.
fn slowest(workers: &[Named<WorkerMeters>]) -> Option<usize> {
    let waits = |worker: &Named<WorkerMeters>| worker.meters.wait_fraction.unwrap_or(1.0);
    let all = workers.iter().enumerate();
    all.min_by(|(_, one), (_, other)| waits(one).total_cmp(&waits(other))).map(|(at, _)| at)
}

/// Draws the dataflow, or a table where there is no room.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    let Some(report) = &app.scene.report else { return };
    if area.height == 0 {
        return;
    }
    let waits = WAITS.iter().filter_map(|name| {
        let label = JobMeters::meter(name)?.label();
        Some(Span::styled(format!("{label} {}  ", units::value(&report.job, name, app.fractions)), FAINT))
    });
    let inner = pane(frame, area, titled("flow", waits.collect()));
    let graph = Graph::new(&app.scene.about, report);
    let buffer = frame.buffer_mut();
    match column(area.width, &graph) {
        Some(column) => Drawing { buffer, area: inner, column, graph: &graph, app, report }.draw(),
        None => table(buffer, inner, app, report),
    }
}

/// Draws a table with one line per operator.
fn table(buffer: &mut Buffer, area: Rect, app: &App, report: &Report) {
    let row = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>9}")).collect();
        format!(" {name:<8}{cells}")
    };
    let heading = OperatorMeters::METERS.iter().map(|meter| legend(meter.unit, meter.name).into()).collect();
    let heading = std::iter::once((row("", heading), FAINT));
    let operators = report.operators.iter().map(|operator| {
        let values = operator.meters.values();
        let cells = OperatorMeters::METERS.iter().zip(values);
        let cells = cells.map(|(meter, value)| cell(value, meter.unit, app.fractions)).collect();
        (row(&operator.name, cells), Style::new())
    });
    for ((text, style), y) in heading.chain(operators).zip(area.top()..area.bottom()) {
        buffer.set_stringn(area.x, y, text, area.width as usize, style);
    }
}

fn cell(value: Option<f64>, unit: Unit, fractions: bool) -> String {
    match (unit, value.filter(|value| value.is_finite())) {
        (Unit::Share, value) => units::share(value, fractions),
        (_, Some(value)) => units::short(value),
        (_, None) => units::UNKNOWN.into(),
    }
}

/// Returns the name of a row, in at most [`LEGEND`] columns.
fn legend(unit: Unit, name: &'static str) -> &'static str {
    match unit {
        Unit::PerSecond => "rate/s",
        Unit::Microseconds => "µs each",
        _ => name.trim_end_matches("_fraction"),
    }
}

/// Returns the name of the data on a feedback edge.
fn carried(from: &str, to: &str) -> &'static str {
    match (from, to) {
        ("commit", "source") => "credit",
        ("learn", "teach") => "weights",
        _ => "feedback",
    }
}

struct Drawing<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    column: u16,
    graph: &'a Graph,
    app: &'a App,
    report: &'a Report,
}

impl Drawing<'_> {
    fn draw(mut self) {
        let mut y = 0;
        for (at, beside) in self.graph.beside.iter().enumerate() {
            self.beside(at as u16, beside);
            y = self.graph.beside.len() as u16 + 1;
        }
        let hottest = self.hottest();
        for (at, name) in self.graph.line.iter().enumerate() {
            self.operator(y, at, name, hottest == Some(at));
        }
        for (row, meter) in OperatorMeters::METERS.iter().enumerate() {
            self.put(0, y + 2 + row as u16, legend(meter.unit, meter.name), FAINT);
        }
        self.loops(y + 2 + OperatorMeters::METERS.len() as u16);
    }

    fn put(&mut self, x: u16, y: u16, text: &str, style: Style) {
        if x < self.area.width && y < self.area.height {
            let room = (self.area.width - x) as usize;
            self.buffer.set_stringn(self.area.x + x, self.area.y + y, text, room, style);
        }
    }

    fn meters(&self, name: &str) -> Option<&OperatorMeters> {
        self.report.operators.iter().find(|operator| operator.name == name).map(|operator| &operator.meters)
    }

    /// First column of an operator. Edges meet it at `middle`.
    fn left(&self, at: usize) -> u16 {
        LEGEND + 1 + at as u16 * self.column
    }

    fn middle(&self, at: usize) -> u16 {
        self.left(at) + 2
    }

    /// Returns the operator with the largest fraction of the time.
    fn hottest(&self) -> Option<usize> {
        let share = |name: &String| self.meters(name).and_then(|meters| meters.stage_fraction);
        let shares = self.graph.line.iter().enumerate().filter_map(|(at, name)| Some((at, share(name)?)));
        shares.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
    }

    /// Draws an operator's name with the edge to the next, its load bar and its meters.
    fn operator(&mut self, y: u16, at: usize, name: &str, hottest: bool) {
        let (left, column) = (self.left(at), self.column as usize);
        let shown: String = name.chars().take(column - 2).collect();
        if at + 1 < self.graph.line.len() {
            let edge = column.saturating_sub(Span::raw(&*shown).width() + 1);
            let x = left + (column - 1 - edge) as u16;
            self.put(x, y, &("─".repeat(edge) + "►"), FAINT);
        }
        self.put(left, y, &shown, if hottest { STRONG.fg(Color::Red) } else { STRONG });
        let Some(meters) = self.meters(name).cloned() else { return };
        let width = column - 2;
        let eighths = |share: Option<f64>| {
            let share = share.filter(|share| share.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
            (share * 8.0 * width as f64).ceil() as usize
        };
        let (busy, stage) = (eighths(meters.busy_fraction), eighths(meters.stage_fraction));
        let colour = Style::new().fg(if hottest { Color::Red } else { Color::Cyan });
        self.put(left, y + 1, &"·".repeat(width), FAINT);
        self.put(left, y + 1, &"░".repeat(busy.div_ceil(8)), colour);
        self.put(left, y + 1, &("█".repeat(stage / 8) + PARTS[stage % 8]), colour);
        for (row, (meter, value)) in OperatorMeters::METERS.iter().zip(meters.values()).enumerate() {
            let text = cell(value, meter.unit, self.app.fractions);
            self.put(left, y + 2 + row as u16, &text, Style::new());
        }
    }

    /// Draws an operator beside the line: an edge above the line to its inputs and outputs.
    fn beside(&mut self, row: u16, beside: &Beside) {
        let bottom = self.graph.beside.len() as u16;
        let ends = beside.from.iter().chain(&beside.to).map(|at| self.middle(*at));
        let (Some(low), Some(high)) = (ends.clone().min(), ends.max()) else { return };
        self.put(low, row, &"─".repeat((high - low) as usize), FAINT);
        for (at, last) in beside.from.iter().map(|at| (at, "│")).chain(beside.to.iter().map(|at| (at, "▼")))
        {
            let x = self.middle(*at);
            let corner = match x {
                _ if x == low => "┌",
                _ if x == high => "┐",
                _ => "┬",
            };
            self.put(x, row, corner, FAINT);
            (row + 1..bottom).for_each(|y| self.put(x, y, "│", FAINT));
            self.put(x, bottom, last, FAINT);
        }
        let busy = self.meters(&beside.name).and_then(|meters| meters.stage_fraction);
        let busy = busy.map(|busy| format!(" {}", units::share(Some(busy), self.app.fractions)));
        self.label(low, high, row, &format!(" {}{} ", beside.name, busy.unwrap_or_default()));
    }

    /// Draws the feedback edges, shorter ones inside longer ones.
    fn loops(&mut self, y: u16) {
        for (row, (from, to)) in self.graph.loops.iter().enumerate() {
            let (low, high, bottom) = (self.middle(*to), self.middle(*from), y + 1 + row as u16);
            self.put(low, y, "▲", FAINT);
            self.put(high, y, "│", FAINT);
            for side in y + 1..bottom {
                self.put(low, side, "│", FAINT);
                self.put(high, side, "│", FAINT);
            }
            self.put(low, bottom, "└", FAINT);
            self.put(low + 1, bottom, &"─".repeat((high - low - 1) as usize), FAINT);
            self.put(high, bottom, "┘", FAINT);
            let carried = carried(&self.graph.line[*from], &self.graph.line[*to]);
            let value = |name| units::value(&self.report.job, name, self.app.fractions);
            let more = match carried {
                "credit" => {
                    format!(
                        ", credit wait {}, window fill {}",
                        value("credit_wait_fraction"),
                        value("window_fill")
                    )
                }
                "weights" => format!(", lag {}", value("teacher_lag_steps")),
                _ => String::new(),
            };
            self.label(low, high, bottom, &format!(" {carried}{more} "));
        }
    }

    /// Writes a text in the middle of an edge, if it fits.
    fn label(&mut self, low: u16, high: u16, y: u16, text: &str) {
        let (width, room) = (Span::raw(text).width() as u16, high - low);
        if width + 2 <= room {
            self.put(low + (room - width) / 2 + 1, y, text, Style::new());
        }
    }
}
