// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha records`: what nfsd-had has on record, and the change from nfsdcld and back.

mod check;
mod export;
mod import;
mod list;
mod nlm;
mod report;
mod show;
mod upgrade;

#[cfg(test)]
pub(super) use report::{All, Checked, Client, Connected, Hold, Shown, ShownNlm};

use crate::Common;
use anyhow::Result;
use nfsd_ha::config::Config;
use nfsd_ha::owner::Owner;
use nfsd_ha::records::{HoldRecord, Reader, Record};
use std::collections::HashMap;
use std::path::PathBuf;

/// Shows who may reclaim after the NFS server restarts, as nfsd-had has it on record, also while it runs. Takes such
/// records over from nfsdcld, and gives them back.
#[derive(clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Examples:
  nfsd-ha records list
  nfsd-ha records list --nlm
  nfsd-ha records show 'Linux\\040NFSv4.2\\040client'
  nfsd-ha records import /var/lib/nfs/nfsdcld                   nfsd-had comes in place of nfsdcld
  nfsd-ha records export --nfsdcld /root/nfsdcld                and the way back
  nfsd-ha records export > /root/records.json
  nfsd-ha records check --records /root/records.sqlite")]
pub struct Args {
    /// Where the records are [default: as /etc/nfsd-ha.toml says, else /var/lib/nfsd-ha/records.sqlite]
    #[arg(long, global = true, value_name = "FILE")]
    records: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What to do with them.
#[derive(clap::Subcommand)]
enum Command {
    /// Show the clients that may reclaim after a restart, those of NLM, or who is connected.
    List(list::Args),
    /// Show all that is known of one client.
    Show(show::Args),
    /// Write all of it as JSON, or who may reclaim as a database of nfsdcld.
    Export(export::Args),
    /// Store who may reclaim by nfsdcld's or nfsdcltrack's database. End both daemons first.
    Import(import::Args),
    /// Find out what is wrong with the file.
    Check(check::Args),
    /// Bring the file of an older nfsd-had to this version. End it first.
    Upgrade(upgrade::Args),
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = match &self.records {
            Some(file) => file.clone(),
            None => Config::read(None)?.records.file,
        };
        match &self.command {
            Command::List(args) => args.run(&file, common),
            Command::Show(args) => args.run(&file, common),
            Command::Export(args) => args.run(&file, common),
            Command::Import(args) => args.run(&file, common),
            Command::Check(args) => args.run(&file, common),
            Command::Upgrade(args) => args.run(&file, common),
        }
    }
}

/// The clients that are wanted, by their names.
fn clients(reader: &Reader, wanted: impl Fn(&Record) -> bool) -> Result<Vec<report::Client>> {
    let mut records = Vec::new();
    reader.each(|record| {
        if wanted(&record) {
            records.push(record);
        }
    })?;
    records.sort_by(|a, b| a.client.owner.cmp(&b.client.owner));
    let mut exports: HashMap<Owner, u64> = HashMap::new();
    reader.each_hold(|record| {
        if let (Some(owner), true) = (record.hold.owner, record.counts) {
            *exports.entry(owner).or_default() += 1;
        }
    })?;
    let client = |record: Record| {
        let held = exports.get(&record.client.owner).copied();
        report::Client::new(record, reader.has_holds().then(|| held.unwrap_or_default()))
    };
    Ok(records.into_iter().map(client).collect())
}

/// What is held that is wanted, if the file is of a version that has it.
fn holds(
    reader: &Reader,
    wanted: impl Fn(&HoldRecord) -> bool,
) -> Result<Option<Vec<report::Hold>>> {
    let mut holds = Vec::new();
    reader.each_hold(|record| {
        if wanted(&record) {
            holds.push(record.into());
        }
    })?;
    Ok(reader.has_holds().then_some(holds))
}
