//! Draws a chart with plotters: lines on a light ground, in an embedded font.

use crate::plot::chart::{Chart, Curve};
use crate::plot::marks;
use crate::plot::scale;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::sync::Once;

const FONT: &str = "sans-serif";
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(27, 34, 44);
const FAINT: RGBColor = RGBColor(92, 102, 115);
const GRID: RGBColor = RGBColor(226, 230, 235);
/// Line colours that readers with red-green blindness can distinguish (Okabe and Ito 2008; darker).
const LINES: [RGBColor; 5] = [
    RGBColor(0, 103, 165),
    RGBColor(200, 80, 0),
    RGBColor(0, 135, 98),
    RGBColor(170, 75, 130),
    RGBColor(60, 60, 60),
];
/// Up to this many points, each point is marked.
const MARKED: usize = 60;

/// Size and layout of a drawing.
struct Look {
    size: (u32, u32),
    /// Pixels per unit.
    scale: f64,
    /// Draw title and legend.
    headed: bool,
}

impl Look {
    fn px(&self, units: f64) -> i32 {
        (units * self.scale).round() as i32
    }

    fn font(&self, units: f64, color: RGBColor) -> TextStyle<'static> {
        (FONT, units * self.scale).into_font().color(&color)
    }
}

/// Draws a stand-alone chart as SVG.
pub(super) fn svg(chart: &Chart) -> Result<String, String> {
    written(chart, &Look { size: (960, 540), scale: 1.2, headed: true })
}

/// Draws a stand-alone chart as PNG.
pub(super) fn png(chart: &Chart) -> Result<Vec<u8>, String> {
    let look = Look { size: (1600, 900), scale: 2.0, headed: true };
    let (width, height) = look.size;
    let mut pixels = vec![0; (3 * width * height) as usize];
    draw(&BitMapBackend::with_buffer(&mut pixels, look.size).into_drawing_area(), chart, &look)?;
    let image = image::RgbImage::from_raw(width, height, pixels).ok_or("it has no pixels")?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(bytes.into_inner())
}

/// Draws a chart for a page, in the page's colours and without title and legend.
pub(super) fn inline(chart: &Chart) -> Result<String, String> {
    let mut svg = written(chart, &Look { size: (520, 280), scale: 1.2, headed: false })?;
    let own = [(PAPER, "paper"), (INK, "ink"), (FAINT, "faint"), (GRID, "grid")];
    let of_marks = [(marks::DRIFT, "drift"), (marks::BAD, "gone"), (marks::RESTART, "restart")];
    let named = own.into_iter().chain(of_marks).chain([(marks::CHECKPOINT, "checkpoint")]);
    let named = named.map(|(color, name)| (color, name.to_string()));
    let lines = LINES.iter().enumerate().map(|(at, color)| (*color, format!("line-{at}")));
    for (RGBColor(r, g, b), name) in named.chain(lines) {
        svg = svg.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"var(--{name})\""));
    }
    Ok(svg)
}

/// Returns the page's colour of line `at`.
pub(super) fn color(at: usize) -> String {
    format!("var(--line-{})", at % LINES.len())
}

fn written(chart: &Chart, look: &Look) -> Result<String, String> {
    let mut svg = String::new();
    draw(&SVGBackend::with_string(&mut svg, look.size).into_drawing_area(), chart, look)?;
    Ok(svg)
}

/// Registers the embedded font, so that machines without fonts can draw text.
fn embed_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The bytes are constant, and the tests check that they are a font.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, chart: &Chart, look: &Look) -> Result<(), String> {
    embed_font();
    let failed = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    area.fill(&PAPER).map_err(failed)?;
    let body = match look.headed {
        true => head(area, chart, look).map_err(failed)?,
        false => area.clone(),
    };
    let ((first, last), (low, high)) = (chart.epochs(), chart.values());
    let desc = scale::axis(chart.unit);
    let mut plot = ChartBuilder::on(&body)
        .margin(look.px(6.0))
        .margin_right(look.px(18.0))
        .x_label_area_size(look.px(40.0))
        .y_label_area_size(look.px(if desc.is_empty() { 50.0 } else { 66.0 }))
        .build_cartesian_2d(first..last, low..high)
        .map_err(failed)?;
    plot.configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(look.px(1.0) as u32))
        .axis_style(FAINT.stroke_width(look.px(1.0) as u32))
        .label_style(look.font(12.0, FAINT))
        .axis_desc_style(look.font(12.0, FAINT))
        .x_desc("epoch")
        .y_desc(desc)
        .x_labels(((last - first) as usize + 1).min(8))
        .y_labels(6)
        .x_label_formatter(&|epoch| scale::epoch(*epoch))
        .y_label_formatter(&|value| scale::tick(chart.unit, *value))
        .draw()
        .map_err(failed)?;
    for (line, color) in marks::lines(chart, (low, high)) {
        let stroke = color.stroke_width(look.px(1.2) as u32);
        plot.draw_series([PathElement::new(line.to_vec(), stroke)]).map_err(failed)?;
    }
    for (at, curve) in chart.curves.iter().enumerate() {
        let color = LINES[at % LINES.len()];
        if curve.dots.iter().any(|dot| dot.low < dot.high) {
            plot.draw_series([Polygon::new(band(curve), color.mix(0.16))]).map_err(failed)?;
        }
        let line = curve.dots.iter().map(|dot| (dot.epoch, dot.mean));
        let stroke = color.stroke_width(look.px(2.0) as u32);
        plot.draw_series(LineSeries::new(line.clone(), stroke)).map_err(failed)?;
        if curve.dots.len() <= MARKED {
            let mark = |place| Circle::new(place, look.px(2.5), color.filled());
            plot.draw_series(line.map(mark)).map_err(failed)?;
        }
    }
    area.present().map_err(failed)
}

/// Returns the outline of the value range: along the upper edge and back along the lower one.
fn band(curve: &Curve) -> Vec<(f64, f64)> {
    let upper = curve.dots.iter().map(|dot| (dot.epoch, dot.high));
    let lower = curve.dots.iter().rev().map(|dot| (dot.epoch, dot.low));
    upper.chain(lower).collect()
}

/// Draws title and legend, and returns the remaining area.
fn head<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    chart: &Chart,
    look: &Look,
) -> Result<DrawingArea<B, Shift>, DrawingAreaErrorKind<B::ErrorType>> {
    let width = look.size.0 as i32 - 2 * look.px(14.0);
    let style = look.font(17.0, INK);
    area.draw_text(&fitting(area, &chart.title, &style, width)?, &style, (look.px(14.0), look.px(10.0)))?;
    let (mut x, mut y) = (look.px(14.0), look.px(46.0));
    let style = look.font(13.0, INK).pos(Pos::new(HPos::Left, VPos::Center));
    let curves = chart.curves.iter().zip(LINES.iter().cycle());
    let curves = curves.map(|(curve, color)| (curve.meter.label(), *color));
    let kinds = chart.kinds().into_iter().map(|kind| (kind.words().to_string(), marks::color(kind)));
    for (at, (name, color)) in curves.chain(kinds).enumerate() {
        let needed = look.px(28.0) + area.estimate_text_size(&name, &style)?.0 as i32 + look.px(20.0);
        if x + needed > width && x > look.px(14.0) {
            (x, y) = (look.px(14.0), y + look.px(20.0));
        }
        let color = color.stroke_width(look.px(3.0) as u32);
        // A mark is a line across the chart, and so is its sign.
        let sign = match at < chart.curves.len() {
            true => vec![(x, y), (x + look.px(20.0), y)],
            false => vec![(x + look.px(10.0), y - look.px(8.0)), (x + look.px(10.0), y + look.px(8.0))],
        };
        area.draw(&PathElement::new(sign, color))?;
        area.draw_text(&name, &style, (x + look.px(28.0), y))?;
        x += needed;
    }
    Ok(area.split_vertically(y + look.px(14.0)).1)
}

/// Cuts a title to `width` pixels.
fn fitting<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    style: &TextStyle,
    width: i32,
) -> Result<String, DrawingAreaErrorKind<B::ErrorType>> {
    let mut kept: Vec<char> = title.chars().take(200).collect();
    let mut text: String = kept.iter().collect();
    while area.estimate_text_size(&text, style)?.0 as i32 > width && kept.pop().is_some() {
        text = kept.iter().chain(&['…']).collect();
    }
    Ok(text)
}
