// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha status`: show what is in grace, who holds what, and who may reclaim.

pub(super) mod report;
mod text;
mod watch;

use crate::{output, Common};
use anyhow::Result;
use nfsd_ha::control::Control;
use report::Report;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  nfsd-ha status\n  nfsd-ha --json status | jq '.grace[]'\n  nfsd-ha status --watch"
)]
pub struct Args {
    /// Show it anew every SECONDS, with the progress of each grace period, until ^C
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let control = Control::open()?;
        match self.watch {
            Some(seconds) => watch::watch(&control, seconds, common.json),
            None if common.json => output::json(&Report::new(&control)?),
            None => output::print(&text::all(&Report::new(&control)?)),
        }
    }
}
