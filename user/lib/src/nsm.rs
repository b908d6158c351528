// SPDX-License-Identifier: GPL-2.0
//! Notices of the network status monitor (NSM): "this server has restarted, or has moved".
//!
//! A client of NLM reclaims its locks when its own status monitor (rpc.statd) is told so. That one of Linux
//! compares the name in the notice, and the address that it comes from, with the names that its kernel wants
//! to hear of (`utils/statd/callback.c` of nfs-utils): the addresses that the client has mounted from. So each
//! client gets its notice from and about the server address that it used.
//!
//! A client ignores a notice with the state number that it has heard last of the same server. All notices of
//! one call of [`notify`] have the same number; those of the next call must have another one.
//!
//! All clients are told at once: by a few UDP sockets for each server address, and by at most
//! [`MAX_CONNECTIONS`] TCP connections, for clients that do not answer by UDP or offer none.

mod connection;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod lists;
mod message;
mod peer;
mod run;
mod server;
#[cfg(test)]
mod tests;

pub use lists::{tell, Error, Told};
pub use message::{Refusal, Transport, MAX_NAME};
pub use run::{notify, MAX_CONNECTIONS};

use crate::statd::Record;
use serde::Serialize;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// One client that must be told about one of its server's addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Notice {
    /// The client's address.
    pub client: IpAddr,
    /// The server address that the client used, which the notice comes from.
    pub server: IpAddr,
    /// What the notice says that has restarted, at most [`MAX_NAME`] bytes: the server address, or the name
    /// that clients mount from. Linux takes either, as it knows the address that the notice comes from.
    pub about: String,
}

impl Notice {
    /// A notice from and about one address.
    pub fn new(client: IpAddr, server: IpAddr) -> Self {
        Self {
            client,
            server,
            about: server.to_string(),
        }
    }
}

impl From<&Record> for Notice {
    fn from(record: &Record) -> Self {
        Self::new(record.client, record.server)
    }
}

/// Why a client was not told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// The server address never came.
    #[error("the server address is not on this node: add it, then repeat this")]
    NotHere,
    /// No answer from port 111.
    #[error(
        "no answer from its rpcbind (port 111): is it up, and does a firewall let this through?"
    )]
    NoRpcbind,
    /// Its rpcbind knows of none.
    #[error("its rpc.statd does not run, so that it cannot hear of this")]
    NoStatd,
    /// No answer from the port that its rpcbind has named.
    #[error("no answer from its rpc.statd: does a firewall let through the port that its rpcbind names?")]
    Silent,
    /// Its RPC layer does not take the call.
    #[error("its rpcbind or rpc.statd {0}")]
    Refused(Refusal),
    /// What it answers by TCP cannot be understood.
    #[error("its answer is none of ONC RPC")]
    Nonsense,
    /// It closes a TCP connection.
    #[error("no answer by UDP, and it closes the TCP connection without one")]
    Closed,
    /// An error of the kernel, by its number.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// One is of IPv4, the other of IPv6.
    #[error("the client's address and the server's are not of one kind, IPv4 or IPv6")]
    OtherFamily,
    /// A link-local address means nothing without its device, which records do not have.
    #[error("a link-local address, of a device that is not known: rpc.statd's own sm-notify tells such clients")]
    LinkLocal,
    /// A multicast address, or none.
    #[error("that is not the address of one host")]
    NotOneHost,
    /// See [`MAX_NAME`].
    #[error("a name of more than {MAX_NAME} bytes does not fit into a notice")]
    TooLong,
}

/// What happens while clients are told.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many clients are on the lists (only [`tell`] says that).
    Begin(usize),
    /// A server address is not on this node: its clients wait for it.
    Absent(IpAddr),
    /// It has come.
    Here(IpAddr),
    /// A client has confirmed its notice.
    Confirmed(&'a Confirmed),
}

/// A client that was told.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// What it was told.
    pub notice: Notice,
    /// When, since the call of [`notify`].
    pub after: Duration,
    /// How.
    pub transport: Transport,
}

/// Who was told and who was not, both in the order of the notices.
#[derive(Debug, Default)]
pub struct Report {
    /// Who has confirmed it.
    pub confirmed: Vec<Confirmed>,
    /// Who has not, and why.
    pub failed: Vec<(Notice, Trouble)>,
}
