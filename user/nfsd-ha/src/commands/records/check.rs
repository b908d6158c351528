// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records check`: is the file sound?

use super::report::Checked;
use crate::failure::{Failure, Status};
use crate::output::{self, progress, shown};
use crate::Common;
use anyhow::Result;
use nfsd_ha::records;
use std::path::Path;

/// Looks at the version, has SQLite check the file, and looks at names and epochs. nfsd-had may go on meanwhile. The exit
/// status is 1 if something is wrong.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  nfsd-ha records check\n  nfsd-ha records check --records /root/records.sqlite"
)]
pub struct Args {}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let faults = progress::while_doing("looking at the records", || records::check(file))?;
        let checked = Checked { faults };
        if common.json {
            output::json(&checked)?;
        } else {
            output::print(&text(&checked, file))?;
        }
        match checked.faults.is_empty() {
            true => Ok(()),
            false => Err(Failure::said(Status::Failed)),
        }
    }
}

fn text(checked: &Checked, file: &Path) -> String {
    if checked.faults.is_empty() {
        return format!("nothing is wrong with {}\n", file.display());
    }
    checked.faults.iter().fold(String::new(), |text, fault| {
        let (what, fix) = (shown(&fault.what), shown(&fault.fix));
        text + &format!("ERROR: {what}\n  do:  {fix}\n")
    })
}
