// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha callout`: record the NLM clients once, for rpc.statd -H.

use crate::Common;
use anyhow::{bail, Context, Result};
use nfsd_ha::control::Control;
use nfsd_ha::statd::{self, Store};
use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;

#[derive(clap::Args)]
#[command(after_help = "\
Example, as rpc.statd -H takes one file without words:
  printf '#!/bin/sh\\nexec nfsd-ha callout \"$@\"\\n' > /usr/local/sbin/nfsd-ha-callout
  chmod +x /usr/local/sbin/nfsd-ha-callout
  rpc.statd -H /usr/local/sbin/nfsd-ha-callout")]
pub struct Args {
    /// What rpc.statd says
    event: Event,
    /// What it says of whom; names that clients have given themselves are not used
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    _words: Vec<OsString>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Event {
    /// It monitors a client: records all clients of all exports that are not recorded yet
    AddClient,
    /// It does not any more: nothing, as the client may have come with an export
    DelClient,
    /// A client has restarted: nothing, its record stays good
    SmNotify,
}

impl Args {
    pub fn run(&self, _common: &Common) -> Result<()> {
        match self.event {
            Event::AddClient => record().inspect_err(|error| log(&format!("{error:#}"))),
            Event::DelClient | Event::SmNotify => Ok(()),
        }
    }
}

fn record() -> Result<()> {
    let clients = Control::open()?.nlm_clients().context(
        "cannot see who is there: run 'nfsd-ha record' as root instead, or let statd's group read (readers_gid)",
    )?;
    let unstored = Store::new(statd::directory()).record(&clients.clients);
    match &unstored[..] {
        [] => Ok(()),
        [first, rest @ ..] => {
            let (scope, client) = (first.scope, first.record.client);
            bail!(
                "{scope}: no record of {client} and {} others: {}",
                rest.len(),
                first.error
            )
        }
    }
}

/// Writes to syslog, as rpc.statd has no standard error: facility daemon, a warning (RFC 5424, 6.2.1).
fn log(message: &str) {
    let to = |socket: UnixDatagram| {
        socket.send_to(format!("<28>nfsd-ha: {message}").as_bytes(), "/dev/log")
    };
    // Without syslog nobody would read it.
    let _ = UnixDatagram::unbound().and_then(to);
}
