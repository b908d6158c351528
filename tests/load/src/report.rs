// SPDX-License-Identifier: GPL-2.0
//! The summary: a table, or JSON.

use crate::stats::{Problems, StepStats};
use serde_json::{json, Map, Value};
use std::fmt::Write;

/// A step of the summary.
pub struct Row {
    /// Its name.
    pub step: String,
    /// What was counted.
    pub stats: StepStats,
}

/// What a run has shown.
pub struct Report {
    /// How many clients there were.
    pub clients: u64,
    /// How long it all took.
    pub seconds: f64,
    /// The steps.
    pub rows: Vec<Row>,
    /// Clients that failed.
    pub failed: u64,
    /// Clients that did not come to the end, as the run was told to end.
    pub unfinished: u64,
    /// Connections that were lost.
    pub lost: u64,
}

const QUANTILES: [(&str, f64); 3] = [("median", 0.5), ("p95", 0.95), ("p99", 0.99)];

fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

fn names(problems: &Problems) -> Value {
    problems
        .iter()
        .map(|(problem, n)| (problem.to_string(), json!(n)))
        .collect::<Map<_, _>>()
        .into()
}

impl Report {
    /// As JSON.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({
            "clients": self.clients,
            "seconds": rounded(self.seconds),
            "steps": steps,
            "failed": self.failed,
            "unfinished": self.unfinished,
            "lost_connections": self.lost,
        })
    }

    /// As a table, and what else there is to say.
    pub fn table(&self) -> String {
        let mut rows = vec![[
            "step",
            "count",
            "failed",
            "again",
            "seconds",
            "per second",
            "min us",
            "median us",
            "p95 us",
            "p99 us",
            "max us",
        ]
        .map(String::from)];
        rows.extend(self.rows.iter().map(Row::cells));
        let mut out = String::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
                // Writing to a string does not fail.
                let _ = match column {
                    0 => write!(out, "{cell:width$}"),
                    _ => write!(out, "  {cell:>width$}"),
                };
            }
            out.push('\n');
        }
        for row in &self.rows {
            for (what, problems) in [
                ("failed", &row.stats.failed),
                ("made again", &row.stats.retried),
            ] {
                for (problem, number) in problems {
                    let _ = writeln!(out, "{}: {number} {what}: {problem}", row.step);
                }
            }
            if row.stats.already > 0 {
                let _ = writeln!(out, "{}: {} were done before", row.step, row.stats.already);
            }
        }
        let _ = write!(
            out,
            "{} clients in {:.3} s, {} failed",
            self.clients, self.seconds, self.failed
        );
        for (number, what) in [
            (self.unfinished, "not finished"),
            (self.lost, "connections lost"),
        ] {
            if number > 0 {
                let _ = write!(out, ", {number} {what}");
            }
        }
        out.push('\n');
        out
    }
}

impl Row {
    fn json(&self) -> Value {
        let stats = &self.stats;
        let mut row = json!({
            "step": self.step,
            "count": stats.count,
            "failed": names(&stats.failed),
            "retried": names(&stats.retried),
            "already": stats.already,
            "seconds": rounded(stats.seconds()),
            "rate": rounded(stats.rate()),
            "min_us": stats.times.min(),
            "max_us": stats.times.max(),
        });
        for (name, part) in QUANTILES {
            row[format!("{name}_us")] = json!(stats.times.quantile(part));
        }
        row
    }

    fn cells(&self) -> [String; 11] {
        let stats = &self.stats;
        let [median, p95, p99] = QUANTILES.map(|(_, part)| stats.times.quantile(part).to_string());
        [
            self.step.clone(),
            stats.count.to_string(),
            stats.failed.values().sum::<u64>().to_string(),
            stats.retried.values().sum::<u64>().to_string(),
            format!("{:.3}", stats.seconds()),
            format!("{:.1}", stats.rate()),
            stats.times.min().to_string(),
            median,
            p95,
            p99,
            stats.times.max().to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use std::time::{Duration, Instant};

    fn report() -> Report {
        let now = Instant::now();
        let mut stats = StepStats::default();
        stats.succeeded(now, now + Duration::from_millis(500));
        stats.has_failed(Problem::Nfs(10034), now, now);
        let rows = vec![Row {
            step: "reclaim-open".into(),
            stats,
        }];
        Report {
            clients: 2,
            seconds: 0.5,
            rows,
            failed: 1,
            unfinished: 0,
            lost: 0,
        }
    }

    #[test]
    fn json_has_all() {
        let json = report().json();
        assert_eq!(json["clients"], 2);
        let step = &json["steps"][0];
        assert_eq!(step["step"], "reclaim-open");
        assert_eq!(step["failed"], json!({"RECLAIM_BAD": 1}));
        assert_eq!(
            (&step["rate"], &step["p99_us"]),
            (&json!(2.0), &json!(500_000))
        );
    }

    #[test]
    fn a_table() {
        let table = report().table();
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("reclaim-open: 1 failed: RECLAIM_BAD"));
        assert!(table.ends_with("2 clients in 0.500 s, 1 failed\n"));
    }
}
