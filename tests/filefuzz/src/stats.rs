// SPDX-License-Identifier: GPL-2.0
//! What was counted, and its tables.

use crate::options::Options;
use crate::sys::Outcome;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by the result: 0, or the errno.
type Counts = BTreeMap<i32, u64>;

/// What a thread, or all of them, did.
#[derive(Default)]
pub struct Stats {
    /// Writes by file: its name, and the results.
    writes: Vec<(String, Counts)>,
    /// All calls, by what they are.
    calls: BTreeMap<&'static str, Counts>,
    /// Upcalls that were read.
    pub upcalls: u64,
    /// Of these, the ones that were answered.
    pub answered: u64,
}

impl Stats {
    /// Nothing yet.
    pub fn new(options: &Options) -> Self {
        let files = options.pipe.iter().chain(&options.file);
        Stats {
            writes: files
                .map(|path| (path.display().to_string(), Counts::new()))
                .collect(),
            ..Self::default()
        }
    }

    /// Counts a call.
    pub fn call(&mut self, what: &'static str, outcome: Outcome) {
        let counts = self.calls.entry(what).or_default();
        *counts.entry(outcome.err().unwrap_or(0)).or_default() += 1;
    }

    /// Counts a write to a file.
    pub fn write(&mut self, file: usize, what: &'static str, outcome: Outcome) {
        let counts = &mut self.writes[file].1;
        *counts.entry(outcome.err().unwrap_or(0)).or_default() += 1;
        self.call(what, outcome);
    }

    /// Adds what another thread did.
    pub fn add(&mut self, other: &Stats) {
        let add = |to: &mut Counts, from: &Counts| {
            for (result, n) in from {
                *to.entry(*result).or_default() += n;
            }
        };
        for ((_, to), (_, from)) in self.writes.iter_mut().zip(&other.writes) {
            add(to, from);
        }
        for (what, from) in &other.calls {
            add(self.calls.entry(what).or_default(), from);
        }
        self.upcalls += other.upcalls;
        self.answered += other.answered;
    }
}

/// A table: a line for each file or call, a column for each result that there was.
pub struct Table {
    title: &'static str,
    rows: Vec<(String, Counts)>,
}

impl Table {
    /// Of the writes, by file.
    pub fn of_writes(stats: &Stats) -> Self {
        Table {
            title: "writes to",
            rows: stats.writes.clone(),
        }
    }

    /// Of all calls.
    pub fn of_calls(stats: &Stats) -> Self {
        let rows = stats.calls.iter();
        Table {
            title: "calls",
            rows: rows
                .map(|(what, n)| (what.to_string(), n.clone()))
                .collect(),
        }
    }
}

fn result_name(result: i32) -> String {
    match result {
        0 => "ok".into(),
        errno => format!("{:?}", Errno::from_raw(errno)),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut results: Vec<i32> = self
            .rows
            .iter()
            .flat_map(|(_, c)| c.keys().copied())
            .collect();
        results.sort();
        results.dedup();
        let width = self
            .rows
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        let width = width.max(self.title.len());
        write!(f, "{:width$}", self.title)?;
        for result in &results {
            write!(f, " {:>8}", result_name(*result))?;
        }
        writeln!(f)?;
        for (name, counts) in &self.rows {
            write!(f, "{name:width$}")?;
            for result in &results {
                write!(f, " {:>8}", counts.get(result).copied().unwrap_or(0))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_table_has_a_column_for_each_result() {
        let options = Options::parse_from(["filefuzz", "--pipe", "a", "--file", "bb"]);
        let mut stats = Stats::new(&options);
        stats.write(0, "write", Ok(3));
        stats.write(1, "write", Err(libc::EINVAL));
        let mut sum = Stats::new(&options);
        sum.add(&stats);
        sum.add(&stats);
        let table = Table::of_writes(&sum).to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["writes", "to", "ok", "EINVAL"]);
        assert_eq!(lines[1], ["a", "2", "0"]);
        assert_eq!(lines[2], ["bb", "0", "2"]);
        assert!(Table::of_calls(&sum).to_string().contains("write"));
    }
}
