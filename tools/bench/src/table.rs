// SPDX-License-Identifier: GPL-2.0
//! The results as a table of text, and as JSON.

use crate::rows::{Goal, Result};
use crate::stats::{text, Summary};
use serde_json::{json, Value};

/// The table, a line for each row, with remarks below it.
pub fn table(results: &[Result]) -> String {
    let mut lines =
        vec![["", "stock", "ours", "ours is better", "must reach", ""].map(String::from)];
    for result in results {
        let unit = result.row.unit;
        lines.push([
            result.row.label.into(),
            spread(&result.stock, unit),
            spread(&result.ours, unit),
            ratio(result),
            result.row.goal_text(),
            verdict(result).into(),
        ]);
    }
    let widths: [usize; 6] =
        std::array::from_fn(|column| lines.iter().map(|l| l[column].len()).max().unwrap_or(0));
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<_> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out += cells.join("  ").trim_end();
        out += "\n";
    }
    out += "Medians, and the quartiles. * by instructions executed, not by time.\n";
    for result in results.iter().filter(|r| !r.notes.is_empty()) {
        out += &format!("{}: {}\n", result.row.label, result.notes.join("; "));
    }
    out
}

/// What became of a row's goal.
pub fn verdict(result: &Result) -> &'static str {
    match result.reached {
        Some(true) => "reached",
        Some(false) => "MISSED",
        None if result.is_open() => "not measured",
        None => "",
    }
}

fn spread(values: &[f64], unit: &str) -> String {
    match Summary::of(values) {
        None => "-".into(),
        Some(s) if s.count == 1 => text(s.median, unit),
        Some(s) => format!(
            "{} ({} to {})",
            text(s.median, unit),
            text(s.low, unit),
            text(s.high, unit)
        ),
    }
}

fn ratio(result: &Result) -> String {
    let Some(s) = result.ratio else {
        return "-".into();
    };
    let number = |value: f64| match value {
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.3}"),
    };
    match result.row.goal {
        Goal::PerRecord(..) => format!("a record: {} times", number(s.median)),
        _ if s.count == 1 => format!("{} times", number(s.median)),
        _ => format!(
            "{} times ({} to {})",
            number(s.median),
            number(s.low),
            number(s.high)
        ),
    }
}

/// All of it.
pub fn json(results: &[Result], kernel: &str, accel: &str) -> Value {
    let rows: Vec<_> = results
        .iter()
        .map(|r| {
            json!({
                "row": r.row.key,
                "records": r.row.records,
                "label": r.row.label,
                "unit": r.row.unit,
                "stock": r.stock,
                "ours": r.ours,
                "ratio": r.ratio.map(|s| s.median),
                "goal": r.row.goal_text(),
                "reached": r.reached,
                "notes": r.notes,
            })
        })
        .collect();
    json!({
        "_": "SPDX-License-Identifier: GPL-2.0",
        "kernel": kernel,
        "accel": accel,
        "rows": rows,
    })
}
