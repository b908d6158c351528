// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records export`: for nfsdcld, or for other programs.

use super::report::All;
use super::{clients, holds, nlm};
use crate::output;
use crate::Common;
use anyhow::Result;
use nfsd_ha::records::{self, Reader};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha records export > /root/records.json
  nfsd-ha records export --nfsdcld /root/nfsdcld         copy its main.sqlite to where nfsdcld looks")]
pub struct Args {
    /// Make a database for nfsdcld in DIR, with those who may reclaim; there must be none yet
    #[arg(long, value_name = "DIR")]
    nfsdcld: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let reader = Reader::open(file)?;
        let Some(directory) = &self.nfsdcld else {
            let has_nlm = reader.has_nlm();
            return output::json(&All {
                version: reader.version(),
                epochs: reader.starts()?,
                clients: clients(&reader, |_| true)?,
                holds: holds(&reader, |_| true)?,
                nlm: has_nlm.then(|| reader.nlm()).transpose()?,
                connections: has_nlm.then(|| nlm::connections(&reader)).transpose()?,
            });
        };
        let clients = records::export(&reader, directory)?;
        if common.json {
            return output::json(&serde_json::json!({ "clients": clients }));
        }
        output::print(&format!(
            "{clients} clients are in {} now, and may reclaim after the next start\n",
            directory.join("main.sqlite").display()
        ))
    }
}
