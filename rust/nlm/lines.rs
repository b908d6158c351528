// SPDX-License-Identifier: GPL-2.0

//! What `nlm_clients` shows: what each client has on each export.

use crate::base::net::{Net, Nfsd};
use crate::base::text::Text;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::nlm::lockd::Lockd;
use crate::nlm::seen::Peer;
use crate::nlm::shares;
use crate::scopes::scope::Fsid;
use core::fmt::{self, Write};
use core::net::IpAddr;
use kernel::prelude::*;
use kernel::rbtree::RBTree;

/// Shows the clients of a net namespace: the number of the last change, then a line for each
/// client and export. While lockd starts or stops, or a release goes on, for longer than a second,
/// the numbers of locks are dashes, and clients that are known by their locks only, as they took
/// them before this module was loaded, are missing. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    let cookie = nfsd.net().cookie();
    let mut lines = Lines::default();
    let sequence = clients::each(cookie, |pair| lines.add(pair.fsid, &pair.peer, &pair.name))?;
    writeln!(out, "sequence {sequence}")?;
    let lockd = Lockd::try_get(nfsd);
    if let Ok(Some(lockd)) = &lockd {
        lines.count_all(lockd, nfsd.net())?;
    }
    Ok(lines.show(lockd.is_ok(), out)?)
}

/// What a line is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    fsid: Fsid,
    server: IpAddr,
    client: IpAddr,
    version: u32,
}

/// What it says.
#[derive(Default)]
struct Line {
    name: KVec<u8>,
    locks: u64,
    blocks: u64,
    shares: u64,
}

/// The lines, in order.
#[derive(Default)]
struct Lines(RBTree<Key, Line>);

impl Lines {
    /// The line of a client and an export, made if there is none.
    fn line(&mut self, fsid: Fsid, peer: &Peer, name: &[u8]) -> Result<&mut Line> {
        let key = || Key {
            fsid,
            server: peer.server,
            client: peer.client,
            version: peer.version,
        };
        if self.0.get(&key()).is_none() {
            let mut line = Line::default();
            line.name.extend_from_slice(name, GFP_KERNEL_ACCOUNT)?;
            self.0
                .try_create_and_insert(key(), line, GFP_KERNEL_ACCOUNT)?;
        }
        self.0.get_mut(&key()).ok_or(ENOMEM)
    }

    /// Makes sure that there is a line of a client and an export. Fails with `ENOMEM`.
    fn add(&mut self, fsid: Fsid, peer: &Peer, name: &[u8]) -> Result {
        self.line(fsid, peer, name).map(|_| ())
    }

    /// Adds to what a host has on an export.
    fn count(&mut self, fsid: Fsid, host: Host<'_>, add: impl Fn(&mut Line)) -> Result {
        if let Some(peer) = clients::peer(host) {
            add(host.with_name(|name| self.line(fsid, &peer, name))?);
        }
        Ok(())
    }

    /// Adds all that lockd holds for the clients of a namespace.
    fn count_all(&mut self, lockd: &Lockd, net: Net<'_>) -> Result {
        let ours = |host: Host<'_>| host.net() == net;
        for file in lockd.files(net, |place| place.shown().is_some())? {
            let Some(fsid) = file.place(net).shown() else {
                continue;
            };
            for lock in file.locks(ours)? {
                self.count(fsid, lock.host(), |line| line.locks += 1)?;
            }
            for block in file.blocks(ours)? {
                self.count(fsid, block.host(), |line| line.blocks += 1)?;
            }
            if file.has_shares() {
                let mut result = Ok(());
                shares::count(&file, |host| {
                    if result.is_ok() && ours(host) {
                        result = self.count(fsid, host, |line| line.shares += 1);
                    }
                });
                result?;
            }
        }
        Ok(())
    }

    /// Writes them, with `counted` what was counted. May sleep.
    fn show(&self, counted: bool, out: &mut Text) -> fmt::Result {
        for (key, line) in &self.0 {
            let Key {
                fsid,
                server,
                client,
                version,
            } = key;
            write!(out, "{fsid} {server} {client} {version} ")?;
            if counted {
                let (locks, blocks, shares) = (line.locks, line.blocks, line.shares);
                write!(out, "{locks} {blocks} {shares} ")?;
            } else {
                out.write_str("- - - ")?;
            }
            out.name(&line.name)?;
            out.write_str("\n")?;
        }
        Ok(())
    }
}
