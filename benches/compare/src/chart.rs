//! Charts as SVG: a bar for each tool at its median, with a line from its least to its most; what the bars' colours say stands above.

use std::fs;
use std::path::Path;

use plotters::prelude::{DrawingBackend, IntoFont, SVGBackend, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor};

use crate::failure::{Doing, Outcome};
use crate::record::{Record, Run};
use crate::statistics::{Spread, digits};
use crate::table;

const WIDTH: i32 = 940;
const MARGIN: i32 = 14;
/// Where bars begin; names stand to the left.
const BARS_LEFT: i32 = 370;
/// Room to the right of the longest bar, for its figure.
const FIGURE_WIDTH: i32 = 150;
const HEAD_HEIGHT: i32 = 66;
const TITLE_MIDDLE: i32 = 20;
const LEGEND_MIDDLE: i32 = 46;
/// From the start of one entry of the legend to that of the next.
const LEGEND_STEP: i32 = 140;
const LEGEND_SIDE: i32 = 11;
const BAR_HEIGHT: i32 = 16;
const BAR_STEP: i32 = 23;

const OURS: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
const ENCRYPTED: RGBColor = RGBColor(0x1b, 0x6c, 0xa8);
const PLAIN: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const LIMIT: RGBColor = RGBColor(0xf3, 0xc9, 0x9f);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// The colours in the order of the legend, and what has them.
const LEGEND: [(RGBColor, &str); 4] = [
    (OURS, "xferctl"),
    (LIMIT, "limit of its stages"),
    (ENCRYPTED, "others, encrypted"),
    (PLAIN, "others, plain"),
];

fn colour(record: &Record) -> RGBColor {
    match (record.ours, record.encrypted) {
        (true, _) if record.peer.starts_with("limit") => LIMIT,
        (true, _) => OURS,
        (false, true) => ENCRYPTED,
        (false, false) => PLAIN,
    }
}

/// The file of the chart of the `index`th case of a workload; none where no record has a figure.
pub(crate) fn file_name(workload: &str, index: usize, records: &[Record]) -> Option<String> {
    let has_figures = records.iter().any(|record| record.spread().is_some());
    let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
    has_figures.then(|| format!("{workload}{number}.svg"))
}

/// Removes all charts from `dir`, also those of cases that are no more.
pub(crate) fn clear(dir: &Path) -> Outcome {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    let charts = entries.flatten().map(|entry| entry.path());
    let mut charts = charts.filter(|path| path.extension().is_some_and(|kind| kind == "svg"));
    charts.try_for_each(|path| fs::remove_file(&path).doing(format_args!("remove {}", path.display())))
}

/// Writes the charts of all cases of a run into `dir`.
pub(crate) fn write(dir: &Path, run: &Run, records: &[Record]) -> Outcome {
    fs::create_dir_all(dir).doing(format_args!("make {}", dir.display()))?;
    for (index, (case, records)) in table::cases(records).iter().enumerate() {
        if let Some(name) = file_name(&run.workload, index, records) {
            let path = dir.join(name);
            let svg = draw(case, records).doing(format_args!("draw {}", path.display()))?;
            fs::write(&path, svg).doing(format_args!("write {}", path.display()))?;
        }
    }
    Ok(())
}

fn draw(case: &str, records: &[Record]) -> Outcome<String> {
    let bars: Vec<(&Record, Spread)> =
        table::ranked(records).into_iter().filter_map(|record| Some((record, record.spread()?))).collect();
    let most = bars.iter().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    let height = HEAD_HEIGHT + BAR_STEP * bars.len() as i32 + MARGIN;
    let mut svg = String::new();
    {
        let mut paper = Paper(SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)));
        paper.bar((0, 0), (WIDTH, height), PAPER)?;
        let unit = records.first().map_or("", |record| record.unit.name());
        let way = if records.first().is_some_and(|record| record.unit.is_rate()) { "more" } else { "less" };
        paper.text(&format!("{case}: {unit}, {way} is better"), (MARGIN, TITLE_MIDDLE), 15.0, HPos::Left)?;
        draw_legend(&mut paper, &bars)?;
        for (at, (record, spread)) in bars.iter().enumerate() {
            let top = HEAD_HEIGHT + BAR_STEP * at as i32;
            draw_bar(&mut paper, record, *spread, most, top)?;
        }
        paper.0.present().doing("finish a chart")?;
    }
    Ok(svg)
}

/// Of the colours that the bars have.
fn draw_legend(paper: &mut Paper<'_>, bars: &[(&Record, Spread)]) -> Outcome {
    let used = LEGEND.iter().filter(|(one, _)| bars.iter().any(|(record, _)| colour(record) == *one));
    for (at, (one, text)) in used.enumerate() {
        let left = MARGIN + LEGEND_STEP * at as i32;
        let top = LEGEND_MIDDLE - LEGEND_SIDE / 2;
        paper.bar((left, top), (left + LEGEND_SIDE, top + LEGEND_SIDE), *one)?;
        paper.text(text, (left + LEGEND_SIDE + 6, LEGEND_MIDDLE), 12.0, HPos::Left)?;
    }
    Ok(())
}

fn draw_bar(paper: &mut Paper<'_>, record: &Record, spread: Spread, most: f64, top: i32) -> Outcome {
    let room = f64::from(WIDTH - BARS_LEFT - FIGURE_WIDTH);
    let reach = |value: f64| BARS_LEFT + if most > 0.0 { (value / most * room).round() as i32 } else { 0 };
    let middle = top + BAR_HEIGHT / 2;
    paper.text(&record.peer, (BARS_LEFT - 8, middle), 12.0, HPos::Right)?;
    paper.bar(
        (BARS_LEFT, top),
        (reach(spread.median).max(BARS_LEFT + 1), top + BAR_HEIGHT),
        colour(record),
    )?;
    paper.line((reach(spread.min), middle), (reach(spread.max), middle))?;
    let figure = format!("{} {}", digits(spread.median), record.guards());
    paper.text(&figure, (reach(spread.max) + 6, middle), 12.0, HPos::Left)
}

/// An SVG that is being drawn; positions are pixels from the upper left.
struct Paper<'a>(SVGBackend<'a>);

impl Paper<'_> {
    fn bar(&mut self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Outcome {
        self.0.draw_rect(from, to, &colour.filled(), true).doing("draw a bar")
    }

    fn line(&mut self, from: (i32, i32), to: (i32, i32)) -> Outcome {
        self.0.draw_line(from, to, &INK.stroke_width(1)).doing("draw a line")
    }

    fn text(&mut self, text: &str, at: (i32, i32), size: f64, side: HPos) -> Outcome {
        let style =
            TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(side, VPos::Center));
        self.0.draw_text(text, &style, at).doing("draw a text")
    }
}
