// SPDX-License-Identifier: GPL-2.0
//! Measurements, as the benchmarks print them: lines with `# bench {JSON}` in the log of a VM.

use anyhow::{Context, Result};
use serde_json::Value;

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The kernel as it is.
    Stock,
    /// With the module.
    Ours,
}

/// What one line says.
#[derive(Debug, PartialEq)]
pub struct Measurement {
    /// The row of the table that it belongs to.
    pub row: String,
    /// The number of records, if the row has several sizes.
    pub records: Option<u64>,
    /// Who was measured.
    pub side: Side,
    /// The values, all of one repetition.
    pub values: Vec<f64>,
    /// A remark, such as where the time goes.
    pub note: Option<String>,
}

/// All measurements in a log.
pub fn parse(log: &str) -> Result<Vec<Measurement>> {
    log.lines()
        .filter_map(|line| line.split_once("# bench {"))
        .map(|(_, rest)| {
            measurement(&format!("{{{rest}"))
                .with_context(|| format!("not a measurement: {{{rest}"))
        })
        .collect()
}

fn measurement(json: &str) -> Result<Measurement> {
    let value: Value = serde_json::from_str(json)?;
    let values = value["values"].as_array().context("no values")?;
    Ok(Measurement {
        row: value["row"].as_str().context("no row")?.into(),
        records: value["records"].as_u64(),
        side: match value["side"].as_str() {
            Some("stock") => Side::Stock,
            Some("ours") => Side::Ours,
            _ => anyhow::bail!("no side"),
        },
        values: values
            .iter()
            .map(|v| v.as_f64().context("no number"))
            .collect::<Result<_>>()?,
        note: value["note"].as_str().map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_measurements_in_a_log() {
        let log = "   1.0    test | # bench {\"row\": \"check\", \"side\": \"ours\", \"values\": [1, 2.5], \"records\": 10}\n\
                   1.1    test | # bench is what this is\n\
                   1.2    test | ok 1 fine\n";
        let all = parse(log).unwrap();
        assert_eq!(
            all,
            [Measurement {
                row: "check".into(),
                records: Some(10),
                side: Side::Ours,
                values: vec![1.0, 2.5],
                note: None
            }]
        );
    }

    #[test]
    fn refuses_what_is_none() {
        for line in [
            "# bench {}",
            "# bench {\"row\": 1}",
            "# bench {\"row\": \"x\", \"side\": \"theirs\", \"values\": []}",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
