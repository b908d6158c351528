// SPDX-License-Identifier: GPL-2.0
//! Makes a table, JSON and a plot of what the benchmarks have measured.

mod measure;
mod rows;
mod stats;
mod svg;
mod table;

use anyhow::{Context, Result};
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Makes a table, JSON and a plot of what the benchmarks have measured")]
struct Cli {
    /// The kernel that was measured
    #[arg(long)]
    kernel: String,
    /// How it ran
    #[arg(long)]
    accel: String,
    /// The JSON file to write
    #[arg(long)]
    json: PathBuf,
    /// The plot to write
    #[arg(long)]
    svg: PathBuf,
    /// Logs of the benchmarks
    logs: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all rows were measured, and all goals reached.
fn run(cli: &Cli) -> Result<bool> {
    let mut measurements = Vec::new();
    for log in &cli.logs {
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        measurements.extend(measure::parse(&String::from_utf8_lossy(&text))?);
    }
    let results = rows::results(&measurements);
    let json = table::json(&results, &cli.kernel, &cli.accel);
    write(&cli.json, &format!("{json:#}\n"))?;
    write(&cli.svg, &svg::plot(&results, &cli.kernel, &cli.accel))?;
    print!("{}", table::table(&results));
    let missed = results.iter().filter(|r| r.reached == Some(false)).count();
    let absent = results.iter().filter(|r| r.is_open()).count();
    println!("{missed} goals missed, {absent} rows not measured");
    Ok(missed == 0 && absent == 0)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
