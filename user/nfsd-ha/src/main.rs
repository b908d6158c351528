// SPDX-License-Identifier: GPL-2.0
//! nfsd-ha: moves NFS exports between running servers, and shows who holds what.

#![forbid(unsafe_code)]

mod commands;
mod crashed;
mod database;
mod drain;
mod failure;
mod moves;
mod output;

use clap::Parser;
use failure::{Failure, Status};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Moves NFS exports between running servers.
#[derive(Parser)]
#[command(name = "nfsd-ha", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: commands::Command,
}

/// What all commands take.
#[derive(clap::Args)]
pub struct Common {
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    // Older programs took these here only; they belong to a command.
    #[arg(long, hide = true)]
    force: bool,
    #[arg(long, hide = true, value_name = "DIR")]
    database: Option<PathBuf>,
}

impl Common {
    /// Was `--force` given, here or to the command?
    pub fn force(&self, given: bool) -> bool {
        given || self.force
    }

    /// The directory that `--database` names, to the command or here.
    pub fn database<'a>(&'a self, given: &'a Option<PathBuf>) -> Option<&'a Path> {
        given.as_deref().or(self.database.as_deref())
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            return Failure::report(&Failure::new(Status::Usage, e.to_string()), true);
        }
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() {
                Status::Usage
            } else {
                Status::Done
            }
            .into();
        }
    };
    let common = &cli.common;
    if common.database.is_some() && !cli.command.reads_a_database() {
        let error = Failure::new(Status::Usage, "--database is for export-clients");
        return Failure::report(&error, common.json);
    }
    match cli.command.run(common) {
        Ok(()) => Status::Done.into(),
        Err(e) => Failure::report(&e, common.json),
    }
}
