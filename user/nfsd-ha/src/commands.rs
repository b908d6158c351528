// SPDX-License-Identifier: GPL-2.0
//! The commands, one a file.

mod callout;
mod check;
#[cfg(test)]
mod documented;
mod drain;
mod end;
#[cfg(test)]
mod examples;
mod export_clients;
mod generate;
mod move_in;
mod move_out;
mod notify;
mod record;
mod records;
mod release;
mod status;
mod takeover;
mod unexport;

use crate::Common;
use anyhow::Result;

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show what is in grace, who holds what, and who may reclaim.
    Status(status::Args),
    /// Release all locks of a scope, when its address is gone.
    Release(release::Args),
    /// Write the list of the clients that hold something.
    ExportClients(export_clients::Args),
    /// Let the clients on a list reclaim here, before they come.
    Takeover(takeover::Args),
    /// End a grace period.
    End(end::Args),
    /// Have the clients of an address leave in order, before it goes.
    Drain(drain::Args),
    /// Move an export away from this server.
    MoveOut(move_out::Args),
    /// Bring an export to this server.
    MoveIn(move_in::Args),
    /// Unexport, and release what was held through that export.
    Unexport(unexport::Args),
    /// Record the NLM clients of each export, until SIGTERM.
    Record(record::Args),
    /// Show and check what nfsd-had has on record, and change from nfsdcld and back.
    Records(records::Args),
    /// Record them once, for rpc.statd -H.
    Callout(callout::Args),
    /// Tell NLM clients that their server has moved or restarted.
    Notify(notify::Args),
    /// Find out what is wrong on this node before it matters.
    Check(check::Args),
    #[command(hide = true)]
    Generate(generate::Args),
}

impl Command {
    /// Has it an option `--database`?
    pub fn reads_a_database(&self) -> bool {
        matches!(self, Self::ExportClients(_))
    }

    pub fn run(&self, common: &Common) -> Result<()> {
        match self {
            Self::Status(args) => args.run(common),
            Self::Release(args) => args.run(common),
            Self::ExportClients(args) => args.run(common),
            Self::Takeover(args) => args.run(common),
            Self::End(args) => args.run(common),
            Self::Drain(args) => args.run(common),
            Self::MoveOut(args) => args.run(common),
            Self::MoveIn(args) => args.run(common),
            Self::Unexport(args) => args.run(common),
            Self::Record(args) => args.run(common),
            Self::Records(args) => args.run(common),
            Self::Callout(args) => args.run(common),
            Self::Notify(args) => args.run(common),
            Self::Check(args) => args.run(common),
            Self::Generate(args) => args.run(common),
        }
    }
}
