// SPDX-License-Identifier: GPL-2.0
//! The plot: lines for GraceStart against the number of records, bars for the other rows.
//!
//! It has no background of its own and is read on a light and on a dark one.

use crate::rows::{Result, GRACE_START};
use crate::stats::{text, Summary};

const STYLE: &str = "text{font:13px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}\
.small{font-size:11px}.grid{stroke:#8884;stroke-width:1}.axis{stroke:#888;stroke-width:1}\
.whisker{stroke:#333;stroke-width:1.5}.stock{fill:#d9822b;stroke:#d9822b}.ours{fill:#2f7fd0;stroke:#2f7fd0}\
polyline.stock,polyline.ours{fill:none;stroke-width:2}rect.stock,rect.ours{stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.whisker{stroke:#ddd}}";

/// Where the lines' chart is, in pixels.
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const WIDTH: f64 = 660.0;
const HEIGHT: f64 = 300.0;
/// Each row of bars, and where bars begin and how long the longest is.
const BAR_ROW: f64 = 52.0;
const BAR_LEFT: f64 = 300.0;
const BAR_WIDTH: f64 = 280.0;

/// The whole plot.
pub fn plot(results: &[Result], kernel: &str, accel: &str) -> String {
    let bars: Vec<_> = results
        .iter()
        .filter(|r| r.row.key != GRACE_START && !r.ours.is_empty())
        .collect();
    let bars_top = TOP + HEIGHT + 90.0;
    let height = bars_top + BAR_ROW * bars.len() as f64 + 30.0;
    let mut out = format!(
        "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 780 {height:.0}\" width=\"780\">\n\
         <style>{STYLE}</style>\n"
    );
    out += &label(
        LEFT,
        20.0,
        "title",
        "GraceStart: time against clients on record",
    );
    out += &label(
        LEFT,
        38.0,
        "small",
        &format!("{kernel}, {accel}; medians and quartiles"),
    );
    out += &legend(LEFT + WIDTH - 120.0, 20.0);
    out += &lines(results);
    out += &label(
        LEFT,
        bars_top - 22.0,
        "title",
        "The rest, each row to its own scale",
    );
    for (number, result) in bars.iter().enumerate() {
        out += &bar_row(result, bars_top + BAR_ROW * number as f64);
    }
    out + "</svg>\n"
}

fn label(x: f64, y: f64, class: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>\n")
}

fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}

fn legend(x: f64, y: f64) -> String {
    let mut out = String::new();
    for (number, side) in ["stock", "ours"].iter().enumerate() {
        let x = x + 70.0 * number as f64;
        out += &format!(
            "<rect class=\"{side}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\"/>\n",
            y - 11.0
        );
        out += &label(x + 17.0, y, "", side);
    }
    out
}

/// The chart of GraceStart; both of its axes are logarithmic.
fn lines(results: &[Result]) -> String {
    let rows: Vec<_> = results
        .iter()
        .filter(|r| r.row.key == GRACE_START)
        .collect();
    let values = || rows.iter().flat_map(|r| r.stock.iter().chain(&r.ours));
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return String::new();
    };
    if values().count() == 0 {
        return label(LEFT, TOP + 30.0, "small", "not measured");
    }
    let log = |value: f64| value.max(1e-6).log10();
    let (least, most) = values().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let (bottom, top) = (
        log(least).floor(),
        log(most).ceil().max(log(least).floor() + 1.0),
    );
    let records = |r: &Result| log(r.row.records.unwrap_or(1) as f64);
    let (from, to) = (records(first), records(last));
    let x = |at: f64| LEFT + WIDTH * (at - from) / (to - from);
    let y = |at: f64| TOP + HEIGHT * (top - at) / (top - bottom);
    let mut out = String::new();
    for power in bottom as i32..=top as i32 {
        let at = y(f64::from(power));
        out += &line("grid", LEFT, at, LEFT + WIDTH, at);
        out += &label(8.0, at + 4.0, "small", &text(10_f64.powi(power), "s"));
    }
    for row in &rows {
        let at = x(records(row));
        out += &line("grid", at, TOP, at, TOP + HEIGHT);
        let number = row.row.records.unwrap_or(1).to_string();
        out += &label(
            at - 3.5 * number.len() as f64,
            TOP + HEIGHT + 18.0,
            "small",
            &number,
        );
    }
    out += &line("axis", LEFT, TOP + HEIGHT, LEFT + WIDTH, TOP + HEIGHT);
    out += &label(
        LEFT + WIDTH / 2.0 - 25.0,
        TOP + HEIGHT + 36.0,
        "small",
        "records",
    );
    for (side, of) in [("stock", true), ("ours", false)] {
        let summaries = rows.iter().filter_map(|r| {
            let values = if of { &r.stock } else { &r.ours };
            Summary::of(values).map(|s| (x(records(r)), s))
        });
        let summaries: Vec<_> = summaries.collect();
        let points: Vec<_> = summaries
            .iter()
            .map(|(x, s)| format!("{x:.1},{:.1}", y(log(s.median))))
            .collect();
        out += &format!(
            "<polyline class=\"{side}\" points=\"{}\"/>\n",
            points.join(" ")
        );
        for (x, s) in &summaries {
            out += &line("whisker", *x, y(log(s.low)), *x, y(log(s.high)));
            let at = y(log(s.median));
            out += &format!("<circle class=\"{side}\" cx=\"{x:.1}\" cy=\"{at:.1}\" r=\"4\"/>\n");
            // Above the upper line, and below the lower one.
            let beside = if of { at - 8.0 } else { at + 17.0 };
            let right = *x + 60.0 > LEFT + WIDTH;
            out += &label(
                if right { x - 52.0 } else { x + 7.0 },
                beside,
                "small",
                &text(s.median, "s"),
            );
        }
    }
    out
}

/// A row of the other chart: its name, what it must reach, and a bar for each side.
fn bar_row(result: &Result, y: f64) -> String {
    let row = result.row;
    let mut out = label(8.0, y + 12.0, "small", row.label);
    out += &label(8.0, y + 28.0, "small", &format!("({})", row.goal_text()));
    let sides = [("stock", &result.stock), ("ours", &result.ours)];
    let summaries = sides.map(|(side, values)| (side, Summary::of(values)));
    let most = summaries
        .iter()
        .filter_map(|(_, s)| s.map(|s| s.high))
        .fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| BAR_LEFT + BAR_WIDTH * value / most;
    let mut top = y;
    for (side, summary) in summaries {
        let Some(s) = summary else { continue };
        let width = (x(s.median) - BAR_LEFT).max(1.0);
        out += &format!(
            "<rect class=\"{side}\" x=\"{BAR_LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"14\"/>\n"
        );
        let middle = top + 7.0;
        out += &line("whisker", x(s.low), middle, x(s.high), middle);
        for end in [s.low, s.high] {
            out += &line("whisker", x(end), middle - 4.0, x(end), middle + 4.0);
        }
        let spread = if s.count == 1 {
            text(s.median, row.unit)
        } else {
            format!("{} (of {})", text(s.median, row.unit), s.count)
        };
        out += &label(
            x(s.high).max(BAR_LEFT + width) + 8.0,
            top + 11.0,
            "small",
            &spread,
        );
        top += 18.0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Measurement, Side};
    use crate::rows::results;

    fn measured(row: &str, records: Option<u64>, side: Side, value: f64) -> Measurement {
        Measurement {
            row: row.into(),
            records,
            side,
            values: vec![value, value * 1.1],
            note: None,
        }
    }

    #[test]
    fn is_well_formed_with_and_without_values() {
        let some = [
            measured(GRACE_START, Some(1_000), Side::Stock, 0.05),
            measured(GRACE_START, Some(100_000), Side::Stock, 300.0),
            measured(GRACE_START, Some(1_000), Side::Ours, 0.01),
            measured("check", Some(100_000), Side::Stock, 3000.0),
            measured("check", Some(100_000), Side::Ours, 20.0),
        ];
        for all in [&some[..], &[]] {
            let plot = plot(&results(all), "7.3 <&>", "tcg");
            assert!(plot.contains("7.3 &lt;&amp;>"));
            assert!(plot.ends_with("</svg>\n"));
            assert!(!plot.contains("NaN") && !plot.contains("inf"));
            assert_eq!(
                plot.matches("<text").count(),
                plot.matches("</text>").count()
            );
        }
    }
}
