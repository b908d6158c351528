// SPDX-License-Identifier: GPL-2.0
//! Lists of NLM clients as rpc.statd and sm-notify keep them (nfs-utils, `support/nsm/file.c`).
//!
//! Each export has a list of its own, in a directory that moves with it:
//!
//! | | |
//! |---|---|
//! | `sm/CLIENT` | who must be told when the export moves, a file for each client: the recorder writes there |
//! | `sm.bak/CLIENT` | who is being told |
//! | `state` | the state number of the next notice is above this |
//!
//! The directory that has these has a `state`, too: of the last notices that this node has sent.
//!
//! A record is a line for each address of the server that the client has used. It is named by the client's
//! address: names that clients give themselves are not used.

mod list;
mod report;
mod state;
mod store;

pub use list::List;
pub use report::{Report, Waiting};
pub use state::State;
pub use store::{Store, Unstored};

use std::net::IpAddr;

/// The environment variable that names the directory of all lists.
pub const VARIABLE: &str = "NFSD_HA_DIR";
/// Where they are unless it says otherwise: `/var/lib/nfs`, where others would look, is rpc.statd's user's
/// on Debian.
const DIRECTORY: &str = "/var/lib/nfsd-ha";

/// What comes before the two names in a line: whom rpc.statd is to tell on its own machine that the client
/// has restarted. That is 127.0.0.1 in network order, lockd's program 100021, version 3 and callback 16
/// (`NLMPROC_NSM_NOTIFY` of `fs/lockd/mon.c`), and a cookie which means something to lockd only. As these
/// lists are of another kernel by the time that they are used, it is zeros; sm-notify does not look at it.
const CALLBACK: &str = "0100007f 000186b5 00000003 00000010 00000000000000000000000000000000";
/// How many hexadecimal digits each of its words has.
const CALLBACK_DIGITS: [usize; 5] = [8, 8, 8, 8, 32];

/// The directory that has a directory for each export: `NFSD_HA_DIR`, or `/var/lib/nfsd-ha`.
pub fn directory() -> std::path::PathBuf {
    std::env::var_os(VARIABLE)
        .unwrap_or_else(|| DIRECTORY.into())
        .into()
}

/// A client that must be told when an export moves, and the server's address that it has used: the notice
/// must be about that one, and come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Record {
    /// The client's address (`mon_name`).
    pub client: IpAddr,
    /// The server's address (`my_name`).
    pub server: IpAddr,
}

impl Record {
    /// Reads a file of `sm` or `sm.bak`: the lines that are records of addresses. Others are left out: of
    /// somebody who was interrupted, or with names, which only a name server can tell the address of.
    pub fn parse(bytes: &[u8]) -> Vec<Self> {
        let whole = bytes.split_inclusive(|byte| *byte == b'\n');
        whole
            .filter_map(|line| Self::parse_line(line.strip_suffix(b"\n")?))
            .collect()
    }

    fn parse_line(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        for digits in CALLBACK_DIGITS {
            let word = words.next()?;
            if word.len() != digits || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
        }
        let mut address = || Some(words.next()?.parse::<IpAddr>().ok()?.to_canonical());
        let record = Self {
            client: address()?,
            server: address()?,
        };
        words.next().is_none().then_some(record)
    }

    /// The line, with its end.
    pub fn line(&self) -> String {
        format!("{CALLBACK} {} {}\n", self.client, self.server)
    }

    /// The name of the file that has it.
    pub fn file(&self) -> String {
        self.client.to_string()
    }
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
