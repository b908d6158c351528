// SPDX-License-Identifier: GPL-2.0

//! What each client has on each export: what `nlm_clients` shows, and whether those who are waited for have all.

use crate::base::amount::Amount;
use crate::base::fsfile::Opened;
use crate::base::net::{Net, Nfsd};
use crate::base::text::Text;
use crate::nfs4::due::Missing;
use crate::nfs4::held::Shown;
use crate::nfs4::reclaim_line::NlmClient;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::nlm::lockd::Lockd;
use crate::nlm::nlm_release;
use crate::nlm::seen::Peer;
use crate::nlm::shares;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
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
    lines.seen(cookie, 0, out)?;
    let lockd = Lockd::try_get(nfsd);
    if let Ok(Some(lockd)) = &lockd {
        let net = nfsd.net();
        let ours = |host: Host<'_>| host.net() == net;
        lines.count_all(lockd, net, Place::shown, ours)?;
    }
    let counted = lockd.is_ok();
    // The text is charged to the reader's cgroup, which may let it wait for memory.
    drop(lockd);
    Ok(lines.show(counted, out)?)
}

/// Does a command of `nlm_clients`, see [`clients::write`]. A recorder that wants to know what has come is
/// shown that, and how much it is costs nothing but that: nothing is counted. May sleep.
pub(crate) fn write(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    if let Some(since) = clients::write(file, data)? {
        let mut lines = Lines::default();
        lines.seen(file.nfsd().net().cookie(), since, out)?;
        lines.show(false, out)?;
    }
    Ok(())
}

/// Notes who has as much on a scope as it held. Fails with `ENOMEM`. May sleep.
pub(crate) fn find(
    lockd: &Lockd,
    net: Net<'_>,
    scope: &Scope,
    missing: &mut [Missing<NlmClient>],
) -> Result {
    let mut lines = Lines::default();
    // All that is of the scope is one export here.
    let one = Fsid::Num(0);
    let wanted = |host: Host<'_>| nlm_release::is_of(host, net, scope);
    let place = |place: &Place| Some(one).filter(|_| nlm_release::may_be_of(scope, place));
    lines.count_all(lockd, net, place, wanted)?;
    for missing in missing {
        let NlmClient {
            server,
            client,
            version,
        } = missing.client;
        let key = Key {
            fsid: one,
            server,
            client,
            version,
        };
        let amount = lines.0.get(&key).map(|line| line.amount);
        missing.found = amount.is_some_and(|amount| amount >= missing.holds);
    }
    Ok(())
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
    amount: Amount,
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
            // Not charged to the reader's cgroup, for whose memory lockd would wait: locks are held.
            line.name.extend_from_slice(name, GFP_KERNEL)?;
            self.0.try_create_and_insert(key(), line, GFP_KERNEL)?;
        }
        self.0.get_mut(&key()).ok_or(ENOMEM)
    }

    /// Makes sure that there is a line of a client and an export. Fails with `ENOMEM`.
    fn add(&mut self, fsid: Fsid, peer: &Peer, name: &[u8]) -> Result {
        self.line(fsid, peer, name).map(|_| ())
    }

    /// Makes lines of what has come to a net namespace after a change, and writes the number of the last one.
    fn seen(&mut self, net: u64, since: u64, out: &mut Text) -> Result {
        let sequence = clients::each(net, since, |pair| {
            self.add(pair.fsid, &pair.peer, &pair.name)
        })?;
        Ok(writeln!(out, "sequence {sequence}")?)
    }

    /// Adds to what a host has on an export.
    fn count(&mut self, fsid: Fsid, host: Host<'_>, add: impl Fn(&mut Line)) -> Result {
        if let Some(peer) = clients::peer(host) {
            add(host.with_name(|name| self.line(fsid, &peer, name))?);
        }
        Ok(())
    }

    /// Adds all that lockd holds for clients that are wanted, on the export that a file's place stands for.
    fn count_all(
        &mut self,
        lockd: &Lockd,
        net: Net<'_>,
        export: impl Fn(&Place) -> Option<Fsid>,
        wanted: impl Fn(Host<'_>) -> bool,
    ) -> Result {
        for file in lockd.files(net, |place| export(place).is_some())? {
            let Some(fsid) = export(&file.place(net)) else {
                continue;
            };
            for lock in file.locks(&wanted)? {
                self.count(fsid, lock.host(), |line| {
                    line.locks += 1;
                    line.amount += Amount::of_range(lock.range());
                })?;
            }
            for block in file.blocks(&wanted)? {
                self.count(fsid, block.host(), |line| line.blocks += 1)?;
            }
            if file.has_shares() {
                let mut result = Ok(());
                shares::count(&file, |host, amount| {
                    if result.is_ok() && wanted(host) {
                        result = self.count(fsid, host, |line| {
                            line.shares += 1;
                            line.amount += amount;
                        });
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
            let holds = Shown(Some(line.amount).filter(|_| counted));
            if counted {
                let (locks, blocks, shares) = (line.locks, line.blocks, line.shares);
                write!(out, "{locks} {blocks} {shares} ")?;
            } else {
                out.write_str("- - - ")?;
            }
            out.name(&line.name)?;
            writeln!(out, " {holds}")?;
        }
        Ok(())
    }
}
