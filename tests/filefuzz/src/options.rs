// SPDX-License-Identifier: GPL-2.0
//! The command line.

use clap::Parser;
use std::path::PathBuf;

const AFTER: &str = "\
Valid messages and commands are among what is written: locks are released, grace periods begin and
are ended again, upcalls are taken away from the daemon and answered. A scope that is not to be
touched is one whose number is far from those of --scope.

The same seed gives each thread the same random numbers; what becomes of them also depends on how
the threads are scheduled, with --threads 1 on the server only.

Example:
  filefuzz --pipe /run/rpc_pipefs/nfsd/cld --file /proc/fs/nfsd/nlm_unlock --writes 1000000";

/// Writes random and mutated bytes to the client tracking pipe and to the module's control files, in
/// all the ways that system calls have, and counts what it is answered.
#[derive(Parser)]
#[command(version, after_long_help = AFTER)]
pub struct Options {
    /// A client tracking pipe; it may come and go
    #[arg(long, value_name = "FILE")]
    pub pipe: Vec<PathBuf>,

    /// A control file
    #[arg(long, value_name = "FILE", required_unless_present = "pipe")]
    pub file: Vec<PathBuf>,

    /// A scope for commands: an export, or an address
    #[arg(long, default_value = "1234")]
    pub scope: Vec<String>,

    /// How many writes
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub writes: u64,

    /// How many threads write
    #[arg(long, default_value_t = 4, value_name = "N",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub threads: usize,

    /// What the random numbers begin with [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// The directory whose fsid_grace, drain and nlm_clients are kept in order
    #[arg(long, default_value = "/proc/fs/nfsd", value_name = "DIRECTORY")]
    pub admin: PathBuf,

    /// How many milliseconds a system call may sleep before a signal interrupts it
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub interrupt: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        assert!(Options::try_parse_from(["filefuzz"]).is_err());
        assert!(Options::try_parse_from(["filefuzz", "--file", "x", "--threads", "0"]).is_err());
    }
}
