// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records import`: from nfsdcld to nfsd-had.

use crate::output::{self, progress};
use crate::Common;
use anyhow::Result;
use nfsd_ha::database::Database;
use nfsd_ha::records::{self, Imported};
use std::path::{Path, PathBuf};

/// Stores the clients that may reclaim by nfsdcld's database, of any version, or by what nfsdcltrack left, so that they
/// may do so with nfsd-had. What is read is not changed, and to repeat it changes nothing. The records must be new, or
/// have the same clients already.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha records import /var/lib/nfs/nfsdcld
  nfsd-ha records import /var/lib/nfs/nfsdcltrack/main.sqlite")]
pub struct Args {
    /// The database, or the directory that it is in
    #[arg(value_name = "DIR|FILE")]
    from: PathBuf,
}

impl Args {
    pub fn run(&self, file: &Path, common: &Common) -> Result<()> {
        let imported = progress::while_doing("storing clients", || -> Result<Imported> {
            Ok(records::import(&Database::of_other(&self.from)?, file)?)
        })?;
        if common.json {
            return output::json(&imported);
        }
        output::print(&format!("{}\n", said(&imported, file)))
    }
}

fn said(imported: &Imported, file: &Path) -> String {
    let file = file.display();
    match imported {
        Imported {
            clients: 0, nlm: 0, ..
        } => "nobody may reclaim by it: there is nothing to do".to_owned(),
        Imported {
            clients,
            changed: false,
            ..
        } => format!("all {clients} clients are in {file} already: there is nothing to do"),
        Imported {
            clients,
            waiting,
            nlm,
            ..
        } => {
            let waiting = match waiting {
                0 => String::new(),
                some => format!(
                    "; the server is in its grace period, and {some} have not come back yet"
                ),
            };
            let nlm = match nlm {
                0 => String::new(),
                some => format!("; {some} clients of NLM are, too"),
            };
            format!(
                "{clients} clients are in {file} now, and may reclaim after the next start{waiting}{nlm}"
            )
        }
    }
}
