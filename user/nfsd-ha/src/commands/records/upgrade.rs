// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records upgrade`: files of an older nfsd-had.

use crate::output;
use crate::Common;
use anyhow::Result;
use nfsd_ha::records;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Example: nfsd-ha records upgrade")]
pub struct Args {}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let before = records::upgrade(file)?;
        if common.json {
            let json = serde_json::json!({ "before": before, "version": records::VERSION });
            return output::json(&json);
        }
        let file = file.display();
        output::print(&match before {
            records::VERSION => {
                format!("{file} has version {before} already: there is nothing to do\n")
            }
            _ => format!(
                "{file} had version {before}, and has {} now\n",
                records::VERSION
            ),
        })
    }
}
