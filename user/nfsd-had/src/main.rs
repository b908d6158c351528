// SPDX-License-Identifier: GPL-2.0
//! nfsd-had: records the clients of an NFS server, for the kernel.

#![forbid(unsafe_code)]

mod beside;
mod connected;
mod nlm;
mod pipe;
mod serve;
mod service;
mod trouble;

use clap::Parser;
use nfsd_ha::causes;
use nfsd_ha::config::Config;
use std::path::PathBuf;
use std::process::ExitCode;

/// Records the clients of this machine's NFS server, so that they may reclaim their opens and locks after it
/// restarts, in place of nfsdcld.
#[derive(Parser)]
#[command(name = "nfsd-had", version, max_term_width = 100)]
struct Cli {
    /// Stay in the foreground: it always does, and takes this for those who are used to it
    #[arg(short = 'F', long)]
    foreground: bool,
    /// How it is configured [default: /etc/nfsd-ha.toml, if that is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the records are [default: /var/lib/nfsd-ha/records.sqlite]
    #[arg(short, long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Where rpc_pipefs is mounted [default: /run/rpc_pipefs]
    #[arg(short, long, value_name = "DIRECTORY")]
    pipefs: Option<PathBuf>,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{}", causes::line(e.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let _ = cli.foreground;
    let mut config = Config::read(cli.config.as_deref())?;
    if let Some(file) = cli.records {
        config.records.file = file;
    }
    if let Some(directory) = cli.pipefs {
        config.kernel.pipefs = directory;
    }
    service::run(&config)
}
