// SPDX-License-Identifier: GPL-2.0
//! The command line.

use crate::steps::{self, Step};
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;

const AFTER: &str = "\
Each client goes through the steps in their order. What the server says is not a failure but is
tried again later: NFS4ERR_GRACE, NFS4ERR_DELAY and NLM4_DENIED_GRACE_PERIOD. A client that fails
in a step does none of those after it. `open` comes after `complete`: before it a server refuses
with NFS4ERR_GRACE, even if it is in no grace period.

Unless `destroy` is a step, sessions stay on the server when this ends, until its lease time is
over. Only --hold renews leases: a step of very many clients has to be shorter than that time.

The loops are done by all clients in turns, with --in-flight of them under way at the same time, and
all clients are done with the steps before. A loop's count is of single requests: a lock and an
unlock are two.

The summary is on standard output. `count` is how many clients (in a loop: requests) succeeded, the
seconds of a step are from its first begin to its last end. A time is that of the whole step, with
all that was tried again (in a loop: of a request); median, p95 and p99 are less than 1 % off. Of
the clients in `count`, those in `already` were told that they have said RECLAIM_COMPLETE before.

Exit status: 0 if all is well, 1 if a client failed, 2 for a mistake on the command line or if the
server cannot be reached.

Examples:
  nfs4load --clients 1000 --in-flight 64 --steps session,complete --phases
  nfs4load --clients 50 --verifier 1 --steps session,complete,open,lock
    and, after a restart of the server
  nfs4load --clients 50 --verifier 1 --steps session,reclaim-open,reclaim-lock,complete
  nfs4load --clients 16 --steps session,complete,open,lock-loop --seconds 10 --json
  nfs4load --clients 1000 --steps session,complete --hold 3600 --keep-going
  nfs4load --clients 16 --steps nlm-loop --export /srv/export --seconds 10";

/// Load for an NFSv4.1 server: any number of clients that make themselves known, open and lock
/// files, and reclaim them.
#[derive(Parser)]
#[command(version, after_long_help = AFTER)]
pub struct Options {
    /// What each client does, in this order
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "session,complete",
        value_name = "STEP,..."
    )]
    pub steps: Vec<Step>,

    /// All clients end a step before the next one begins
    #[arg(long)]
    pub phases: bool,

    /// The server's address
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub server: IpAddr,

    /// The server's port
    #[arg(long, default_value_t = 2049)]
    pub port: u16,

    /// The directory for the clients' files: its path below the root of NFSv4's file systems
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub export: String,

    /// The same directory's path for NFSv3, for nlm-loop, if it is another one
    #[arg(long, value_name = "PATH")]
    pub mount_path: Option<String>,

    /// How many clients there are [default: 100, or all of --names-from]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: Option<u32>,

    /// The number of the first client
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub first: u64,

    /// What clients are named: this, and a number of 7 digits
    #[arg(long, default_value = "load-", value_name = "TEXT")]
    pub prefix: String,

    /// Take the clients' names from a file, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prefix", "first"])]
    pub names_from: Option<PathBuf>,

    /// The clients' verifier in hexadecimal; a client with another one is a new incarnation, whose
    /// state of before the server drops [default: a random one]
    #[arg(long, value_name = "HEX", value_parser = verifier)]
    pub verifier: Option<[u8; 8]>,

    /// How many clients are worked on at the same time
    #[arg(long, default_value_t = 64, value_name = "M",
          value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub in_flight: u32,

    /// How many connections there are, each with a thread [default: 16, or fewer]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: Option<u32>,

    /// How many clients may begin in a second; in a loop, how many turns
    #[arg(long, value_name = "R", value_parser = positive)]
    pub rate: Option<f64>,

    /// How long a loop lasts
    #[arg(long, default_value = "10", value_name = "S", value_parser = positive)]
    pub seconds: f64,

    /// After the steps renew all leases for so long, or until SIGTERM or SIGINT
    #[arg(long, default_value = "0", value_name = "S", value_parser = seconds)]
    pub hold: f64,

    /// How many seconds a request may take
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,

    /// How many milliseconds to wait before a request is tried again; twice as long each time, up
    /// to a second
    #[arg(long, default_value_t = 50, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60000))]
    pub pause_ms: u64,

    /// How many seconds a step of a client may take before what failed is not tried again
    #[arg(long, default_value = "600", value_name = "S", value_parser = seconds)]
    pub give_up: f64,

    /// When a connection is lost or gives no answer, connect again and go on; when the server has
    /// forgotten a client, reclaim. Gives up if it cannot connect for 10 times --timeout
    #[arg(long)]
    pub keep_going: bool,

    /// Append the name of each client whose OPEN was answered well to a file, at once; or, if nothing is opened, its
    /// RECLAIM_COMPLETE
    #[arg(long, value_name = "FILE")]
    pub acked: Option<PathBuf>,

    /// The summary is JSON
    #[arg(long)]
    pub json: bool,

    /// Do not show the progress on standard error
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// Says what is wrong, apart from single values.
    pub fn check(&self) -> Result<(), String> {
        steps::check(&self.steps, self.hold > 0.0)
    }
}

fn verifier(text: &str) -> Result<[u8; 8], String> {
    let number = u64::from_str_radix(text.trim_start_matches("0x"), 16);
    number
        .map(u64::to_be_bytes)
        .map_err(|_| "up to 16 hexadecimal digits".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("a number, not negative".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match seconds(text) {
        Ok(value) if value >= 1e-3 => Ok(value),
        _ => Err("a number above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn values() {
        assert_eq!(verifier("0102"), Ok([0, 0, 0, 0, 0, 0, 1, 2]));
        assert!(verifier("g").is_err() && verifier("11112222333344445").is_err());
        assert_eq!(seconds("0"), Ok(0.0));
        assert!(seconds("-1").is_err() && seconds("nan").is_err() && positive("0").is_err());
        let args = [
            "nfs4load",
            "--steps",
            "session,reclaim-open",
            "--server",
            "::1",
        ];
        let options = Options::parse_from(args);
        assert_eq!(options.steps, [Step::Session, Step::ReclaimOpen]);
        assert!(options.check().is_ok());
    }
}
