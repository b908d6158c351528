// SPDX-License-Identifier: GPL-2.0
//! The rows of the table, what each must reach, and whether it does.

use crate::measure::{Measurement, Side};
use crate::stats::Summary;

/// What a row must reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// None: it is only reported.
    None,
    /// Ours is so many times as good as stock.
    Times(f64),
    /// Ours is not worse than stock, as far as the noise lets one see.
    NotWorse,
    /// Ours is less than this.
    Below(f64),
    /// Ours takes at most so many times as long for each record as with this number of records,
    /// which is measured beside it.
    PerRecord(f64, u64),
}

/// A row.
pub struct Row {
    /// What the measurements call it.
    pub key: &'static str,
    /// The number of records, of a row that has several sizes.
    pub records: Option<u64>,
    /// What the table calls it.
    pub label: &'static str,
    /// The unit of its values: s, us, B or /s.
    pub unit: &'static str,
    /// What it must reach.
    pub goal: Goal,
}

const fn row(
    key: &'static str,
    records: Option<u64>,
    label: &'static str,
    unit: &'static str,
    goal: Goal,
) -> Row {
    Row {
        key,
        records,
        label,
        unit,
        goal,
    }
}

/// The key of the rows with GraceStart, which the plot shows as lines.
pub const GRACE_START: &str = "grace-start";

/// What is measured beside a row with [`Goal::PerRecord`] has its key and this.
const BESIDE: &str = "-beside";

/// All rows. A star: by instructions executed, see docs/testing.md.
pub const ROWS: [Row; 25] = [
    row(
        GRACE_START,
        Some(1_000),
        "GraceStart, 1,000 records",
        "s",
        Goal::None,
    ),
    row(
        GRACE_START,
        Some(10_000),
        "GraceStart, 10,000 records",
        "s",
        Goal::None,
    ),
    row(
        GRACE_START,
        Some(100_000),
        "GraceStart, 100,000 records",
        "s",
        Goal::Times(30.0),
    ),
    row(
        GRACE_START,
        Some(1_000_000),
        "GraceStart, 1,000,000 records",
        "s",
        Goal::PerRecord(1.5, 10_000),
    ),
    row(
        "memory",
        Some(1_000_000),
        "memory, 1,000,000 records",
        "B",
        Goal::Below(200e6),
    ),
    row(
        "check",
        Some(100_000),
        "check of a client, 100,000 records",
        "us",
        Goal::Times(50.0),
    ),
    row(
        "create-one",
        None,
        "create round trip, 1 in flight",
        "us",
        Goal::NotWorse,
    ),
    row(
        "create-one-counted",
        None,
        "the same, one CPU *",
        "us",
        Goal::None,
    ),
    row(
        "create-many",
        None,
        "creates, 64 in flight",
        "/s",
        Goal::Times(1.2),
    ),
    row(
        "create-counted",
        None,
        "a create, 64 in flight, one CPU *",
        "us",
        Goal::None,
    ),
    row(
        "create-untracked",
        None,
        "the same without any tracking *",
        "us",
        Goal::None,
    ),
    row(
        "create-disk",
        None,
        "creates, 64 in flight, nfsdcld on a disk",
        "/s",
        Goal::None,
    ),
    row(
        "records-many",
        None,
        "clients on record, 64 at once, nfsd-had on a disk",
        "/s",
        Goal::Times(10.0),
    ),
    row(
        "records-one",
        None,
        "the same, one at a time",
        "/s",
        Goal::Times(2.0),
    ),
    row(
        "records-restart",
        None,
        "restart until 10,000 clients have reclaimed",
        "s",
        Goal::Times(5.0),
    ),
    row(
        "records-start",
        Some(10_000),
        "GraceStart by nfsd-had, 10,000 records",
        "s",
        Goal::None,
    ),
    row(
        "records-start",
        Some(100_000),
        "GraceStart by nfsd-had, 100,000 records",
        "s",
        Goal::Below(2.0),
    ),
    row(
        "records-start",
        Some(1_000_000),
        "GraceStart by nfsd-had, 1,000,000 records",
        "s",
        Goal::PerRecord(1.5, 10_000),
    ),
    row(
        "records-memory",
        Some(1_000_000),
        "memory of nfsd-had, 1,000,000 records",
        "B",
        Goal::Below(150e6),
    ),
    row(
        "nlm-lock",
        None,
        "lock and unlock over NLM, idle module *",
        "/s",
        Goal::Times(0.99),
    ),
    row(
        "nfs4-lock",
        None,
        "lock and unlock over NFSv4, idle module *",
        "/s",
        Goal::Times(0.99),
    ),
    row(
        "nfs4-open",
        None,
        "open and close over NFSv4, idle module *",
        "/s",
        Goal::Times(0.99),
    ),
    row(
        "nfs4-io",
        None,
        "write and read over NFSv4, idle module *",
        "/s",
        Goal::Times(0.99),
    ),
    row(
        "start-empty",
        None,
        "start to first lock, nothing to reclaim",
        "s",
        Goal::None,
    ),
    row(
        "start-1000",
        None,
        "start to first lock, 1,000 clients reclaim",
        "s",
        Goal::None,
    ),
];

impl Row {
    /// Is less better?
    pub fn less_is_better(&self) -> bool {
        self.unit != "/s"
    }

    /// The goal in words.
    pub fn goal_text(&self) -> String {
        match self.goal {
            Goal::None => "reported".into(),
            Goal::Times(n) if n < 1.0 => format!("at least {n} of stock"),
            Goal::Times(n) => format!("{n} times as good as stock"),
            Goal::NotWorse => "not slower than stock".into(),
            Goal::Below(n) => format!("under {}", crate::stats::text(n, self.unit)),
            Goal::PerRecord(n, at) => format!("a record: {n} times that at {at}, or less"),
        }
    }
}

/// A row with what was measured for it.
pub struct Result {
    /// The row.
    pub row: &'static Row,
    /// The stock kernel's values, and ours.
    pub stock: Vec<f64>,
    /// See `stock`.
    pub ours: Vec<f64>,
    /// Remarks of the two, in this order.
    pub notes: Vec<String>,
    /// How many times as good ours is, with an interval if the values come in pairs; for a goal for
    /// each record, the ratio of that.
    pub ratio: Option<Summary>,
    /// Whether the goal was reached, if there is one and it was measured.
    pub reached: Option<bool>,
}

impl Result {
    /// Is something missing that says whether the goal is reached?
    pub fn is_open(&self) -> bool {
        match self.row.goal {
            Goal::None => self.stock.is_empty() && self.ours.is_empty(),
            _ => self.ours.is_empty() || self.reached.is_none(),
        }
    }
}

/// Makes the results of all rows.
pub fn results(measurements: &[Measurement]) -> Vec<Result> {
    ROWS.iter().map(|row| result(row, measurements)).collect()
}

fn values(row: &Row, records: Option<u64>, side: Side, all: &[Measurement]) -> Vec<f64> {
    of(row, records, side, all)
        .flat_map(|m| m.values.iter().copied())
        .collect()
}

fn of<'a>(
    row: &'a Row,
    records: Option<u64>,
    side: Side,
    all: &'a [Measurement],
) -> impl Iterator<Item = &'a Measurement> {
    all.iter()
        .filter(move |m| m.row == row.key && m.records == records && m.side == side)
}

fn result(row: &'static Row, all: &[Measurement]) -> Result {
    let stock = values(row, row.records, Side::Stock, all);
    let ours = values(row, row.records, Side::Ours, all);
    let sides = [(Side::Stock, "stock"), (Side::Ours, "ours")];
    let notes = sides.iter().filter_map(|(side, name)| {
        let last = of(row, row.records, *side, all)
            .filter_map(|m| m.note.as_ref())
            .last()?;
        Some(format!("{name}: {last}"))
    });
    let notes = notes.collect();
    let (ratio, reached) = match row.goal {
        Goal::Below(limit) => (None, Summary::of(&ours).map(|s| s.median < limit)),
        Goal::PerRecord(limit, at) => {
            let beside = all
                .iter()
                .filter(|m| m.row.strip_suffix(BESIDE) == Some(row.key) && m.records == Some(at));
            let share = at as f64 / row.records.unwrap_or(1) as f64;
            let pairs = ours.iter().zip(beside.flat_map(|m| &m.values));
            let ratio = Summary::of(&pairs.map(|(o, b)| o * share / b).collect::<Vec<_>>());
            (ratio, ratio.map(|r| r.median <= limit))
        }
        Goal::None => (ratio(row, &stock, &ours), None),
        Goal::Times(times) => {
            let ratio = ratio(row, &stock, &ours);
            (ratio, ratio.map(|r| r.median >= times))
        }
        Goal::NotWorse => {
            let ratio = ratio(row, &stock, &ours);
            (ratio, ratio.map(|r| r.high >= 1.0))
        }
    };
    Result {
        row,
        stock,
        ours,
        notes,
        ratio,
        reached,
    }
}

/// How many times as good ours is: of each pair if as many were measured, which were in turns.
fn ratio(row: &Row, stock: &[f64], ours: &[f64]) -> Option<Summary> {
    let better = |stock: f64, ours: f64| match row.less_is_better() {
        true => stock / ours,
        false => ours / stock,
    };
    if stock.len() == ours.len() {
        let pairs = stock.iter().zip(ours);
        return Summary::of(&pairs.map(|(s, o)| better(*s, *o)).collect::<Vec<_>>());
    }
    let medians = Summary::of(stock).zip(Summary::of(ours));
    medians.and_then(|(s, o)| Summary::of(&[better(s.median, o.median)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(row: &str, records: Option<u64>, side: Side, values: &[f64]) -> Measurement {
        Measurement {
            row: row.into(),
            records,
            side,
            values: values.into(),
            note: None,
        }
    }

    fn judged(all: &[Measurement], key: &str, records: Option<u64>) -> (Option<f64>, Option<bool>) {
        let results = results(all);
        let found = results
            .iter()
            .find(|r| r.row.key == key && r.row.records == records)
            .unwrap();
        (found.ratio.map(|r| r.median), found.reached)
    }

    #[test]
    fn times_are_better_when_they_are_less() {
        let n = Some(100_000);
        let mut all = vec![
            measured(GRACE_START, n, Side::Stock, &[300.0]),
            measured(GRACE_START, n, Side::Ours, &[1.0, 1.5, 2.0]),
        ];
        assert_eq!(judged(&all, GRACE_START, n), (Some(200.0), Some(true)));
        all[1].values = vec![11.0];
        assert_eq!(judged(&all, GRACE_START, n).1, Some(false));
    }

    #[test]
    fn rates_are_better_when_they_are_more() {
        let mut all = vec![
            measured("nlm-lock", None, Side::Stock, &[1000.0, 1100.0]),
            measured("nlm-lock", None, Side::Ours, &[995.0, 1094.5]),
        ];
        assert_eq!(judged(&all, "nlm-lock", None), (Some(0.995), Some(true)));
        all[1].values = vec![980.0, 1080.0];
        assert_eq!(judged(&all, "nlm-lock", None).1, Some(false));
    }

    #[test]
    fn noise_is_no_loss() {
        let mut all = vec![
            measured("create-one", None, Side::Stock, &[100.0, 100.0, 100.0]),
            measured("create-one", None, Side::Ours, &[98.0, 101.0, 104.0]),
        ];
        assert_eq!(judged(&all, "create-one", None).1, Some(true));
        all[1].values = vec![103.0, 104.0, 105.0];
        assert_eq!(judged(&all, "create-one", None).1, Some(false));
    }

    #[test]
    fn a_record_costs_the_same_among_many() {
        let mut all = vec![
            measured("grace-start-beside", Some(10_000), Side::Ours, &[0.1]),
            measured(GRACE_START, Some(1_000_000), Side::Ours, &[14.0]),
        ];
        let million = Some(1_000_000);
        let (ratio, reached) = judged(&all, GRACE_START, million);
        assert!((ratio.unwrap() - 1.4).abs() < 1e-9 && reached == Some(true));
        all[1].values = vec![16.0];
        assert_eq!(judged(&all, GRACE_START, million).1, Some(false));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(results(&[])
            .iter()
            .all(|r| r.reached.is_none() && r.ratio.is_none()));
    }
}
