// SPDX-License-Identifier: GPL-2.0

//! The lines of `nlm_clients`: what each client has on each export.

use crate::clients;
use crate::host::Host;
use crate::lockd::Lockd;
use crate::nfsd::Net;
use crate::scope::Fsid;
use crate::seen::Peer;
use crate::shares;
use crate::text::Text;
use core::fmt::{self, Write};
use core::net::IpAddr;
use kernel::prelude::*;
use kernel::rbtree::RBTree;

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
pub(crate) struct Lines(RBTree<Key, Line>);

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
            line.name.extend_from_slice(name, GFP_KERNEL)?;
            self.0.try_create_and_insert(key(), line, GFP_KERNEL)?;
        }
        self.0.get_mut(&key()).ok_or(ENOMEM)
    }

    /// Makes sure that there is a line of a client and an export. Fails with `ENOMEM`.
    pub(crate) fn add(&mut self, fsid: Fsid, peer: &Peer, name: &[u8]) -> Result {
        self.line(fsid, peer, name).map(|_| ())
    }

    /// Adds to what a host has on an export.
    ///
    /// # Safety
    ///
    /// As for [`clients::peer`].
    unsafe fn count(&mut self, fsid: Fsid, host: Host<'_>, add: impl Fn(&mut Line)) -> Result {
        // SAFETY: By this function's requirement.
        if let Some(peer) = unsafe { clients::peer(host) } {
            add(host.with_name(|name| self.line(fsid, &peer, name))?);
        }
        Ok(())
    }

    /// Adds all that lockd holds for the clients of a namespace.
    pub(crate) fn count_all(&mut self, lockd: &Lockd, net: Net) -> Result {
        let ours = |host: Host<'_>| host.net() == net;
        for file in lockd.files(|fsid| fsid.is_some())? {
            let Some(fsid) = file.fsid() else {
                continue;
            };
            // SAFETY: These hosts are of `net`, which is alive, as lockd frees a namespace's hosts before
            // it goes.
            unsafe {
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
        }
        Ok(())
    }

    /// Writes them, with `counted` what was counted. May sleep.
    pub(crate) fn show(&self, counted: bool, out: &mut Text) -> fmt::Result {
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
