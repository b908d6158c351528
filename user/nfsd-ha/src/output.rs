// SPDX-License-Identifier: GPL-2.0
//! What is printed: text, tables, JSON, warnings, and progress.

pub mod progress;
mod table;
pub mod time;

pub use table::Table;

use anyhow::{Context, Result};
use std::io::Write;

/// Prints, and fails if not all of it could be.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output could not be written")
}

/// Prints as JSON, on one line.
pub fn json(value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    print(&text)
}

/// Says on standard error what the admin should know, though it went on.
pub fn warn(text: &str) {
    note(&format!("nfsd-ha: warning: {text}"));
}

/// Prints a line on standard error. Nobody may be there to read it, which stops nothing.
pub fn note(line: &str) {
    // In one piece, as others may write there, too.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What is known, or a dash.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Without what a terminal would do: some of it was written by others.
pub fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
