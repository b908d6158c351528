// SPDX-License-Identifier: GPL-2.0
//! What leaves this node, and what is in the way: found out before anything is changed.

use crate::failure::{Failure, Status};
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::exports::{self, Export};
use nfsd_ha::journal::{Direction, Journal, Journals};
use nfsd_ha::mounts::{Mount, Mounts};
use nfsd_ha::net::address;
use nfsd_ha::net::place::{place, Placed};
use nfsd_ha::net::spec::Spec;
use nfsd_ha::scope::Fsid;
use nfsd_ha::users;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A file system that leaves this node, with its exports and addresses.
pub struct Plan {
    /// Where it is mounted, or was.
    pub path: PathBuf,
    /// How it is mounted; `None` if it is not any more, as a move before has come so far.
    pub mount: Option<Mount>,
    /// What is exported on it now.
    pub exports: Vec<Export>,
    /// What its files' handles name it by, as far as anybody has asked.
    pub fsids: BTreeSet<Fsid>,
    /// The addresses that leave with it, wherever they are now.
    pub addresses: Vec<Placed>,
    /// Those that are on this node now.
    pub present: Vec<Placed>,
}

impl Plan {
    /// Finds out what leaves.
    pub fn new(path: &Path, given: &[Spec], mounts: &Mounts, journals: &Journals) -> Result<Self> {
        let journal = journals
            .look(path)?
            .filter(|journal| journal.direction == Direction::Out);
        let mount = mounts.on(path).cloned();
        if mount.is_none() && journal.is_none() {
            return Err(Failure::new(Status::Usage, not_mounted(path, mounts)));
        }
        if path == Path::new("/") {
            return Err(Failure::new(
                Status::Usage,
                "the root file system cannot move",
            ));
        }
        let all = exports::read(Path::new(exports::ETAB))?;
        let exports: Vec<Export> = match &mount {
            Some(mount) => exports::on(&all, mounts, mount.device).cloned().collect(),
            None => Vec::new(),
        };
        // A move that goes on may have come as far as that nothing is exported.
        let before = journal
            .iter()
            .filter(|journal| !is_over(journal))
            .flat_map(Journal::exports);
        let mut fsids: BTreeSet<Fsid> = exports
            .iter()
            .cloned()
            .chain(before)
            .filter_map(|e| e.fsid())
            .collect();
        if let Some(mount) = &mount {
            let known = exports::caches::known()?
                .into_iter()
                .filter(|known| mounts.is_on(&known.path, mount.device));
            fsids.extend(known.filter_map(|known| known.fsid));
        }
        let here = address::all()?;
        let addresses = addresses(given, &here, journals)?;
        let present = addresses
            .iter()
            .filter(|placed| here.iter().any(|one| one.address == placed.address));
        let present = present.cloned().collect();
        Ok(Self {
            path: path.to_owned(),
            mount,
            exports,
            fsids,
            addresses,
            present,
        })
    }

    /// Is a move that was begun still under way? It is not if it has come to its end and the file system is
    /// here again, or if somebody has put all back by hand.
    pub fn goes_on(&self, journal: &Journal) -> bool {
        let all = is_all_here(journal, &self.exports, &self.present);
        journal.direction == Direction::Out && (self.mount.is_none() || !is_over(journal) && !all)
    }

    /// What is in the way, as far as that can be seen now.
    pub fn in_the_way(
        &self,
        mounts: &Mounts,
        control: &Control,
        umount: bool,
    ) -> Result<Vec<String>> {
        let (nfs4, nlm) = (control.nfs4_clients()?, control.nlm_clients()?.clients);
        let nfs4 = nfs4
            .iter()
            .filter(|client| self.fsids.contains(&client.fsid));
        let nlm = nlm
            .iter()
            .filter(|client| self.fsids.contains(&client.fsid) && client.locks != Some(0));
        let held = nfs4.clone().next().is_some() || nlm.clone().next().is_some();
        let mut all = Vec::new();
        // The module releases what clients hold only where a umount would succeed then.
        if let Some(mount) = self.mount.as_ref().filter(|_| umount || held) {
            for below in mounts.below(mount) {
                let point = below.point.display();
                all.push(format!(
                    "{point} is mounted below: move it first, or unmount it"
                ));
            }
            for other in mounts.also(mount).filter(|_| umount) {
                let point = other.point.display();
                all.push(format!(
                    "the file system is also mounted on {point}: unmount that first"
                ));
            }
            all.extend(
                users::of(mount.device)
                    .iter()
                    .map(|user| format!("{user}: end that first")),
            );
        }
        let moves = |address: &IpAddr| {
            self.addresses
                .iter()
                .any(|placed| placed.address == *address)
        };
        let stays =
            nfs4.filter_map(|client| Some((client, client.address.filter(|to| !moves(to))?)));
        all.extend(stays.map(|(client, to)| {
            format!("NFSv4 client {} is connected to {to}, which does not move: have it unmount, or move \
                     that address, too", client.client)
        }));
        all.extend(
            nlm.filter(|client| !moves(&client.peer.server))
                .map(|client| {
                    format!(
                        "NLM client {} has locks by {}, which does not move: it would lose them",
                        client.peer.client, client.peer.server
                    )
                }),
        );
        Ok(all)
    }
}

/// Is anything of what has moved not here now?
pub fn is_away(journal: &Journal) -> Result<bool> {
    let (exports, addresses) = (exports::read(Path::new(exports::ETAB))?, address::all()?);
    let mounted = Mounts::read()?.on(&journal.path()).is_some();
    Ok(!mounted || !is_all_here(journal, &exports, &addresses))
}

/// Has the file system gone, so that a move out of here begins anew once it is mounted? One that stays mounted
/// (`--no-umount`) does not say so.
fn is_over(journal: &Journal) -> bool {
    journal.finished && journal.mounts
}

/// Are these all the exports and addresses that have moved?
fn is_all_here(journal: &Journal, exports: &[Export], addresses: &[Placed]) -> bool {
    let exported = |export: &Export| exports.iter().any(|now| now.is_same(export));
    let present = |placed: &Placed| addresses.iter().any(|now| now.address == placed.address);
    journal.exports().iter().all(exported) && journal.addresses.iter().all(present)
}

/// Why a path cannot move.
fn not_mounted(path: &Path, mounts: &Mounts) -> String {
    let path_shown = path.display();
    match mounts.of(path) {
        Some(around) if around.point != Path::new("/") => {
            let point = around.point.display();
            format!("nothing is mounted on {path_shown}, which is on the file system {point}: write {point}")
        }
        _ => format!(
            "nothing is mounted on {path_shown}, and no move from here is known: is it the path?"
        ),
    }
}

/// Where the given addresses are, or were before they left.
fn addresses(given: &[Spec], here: &[Placed], journals: &Journals) -> Result<Vec<Placed>> {
    let before: Vec<Placed> = journals
        .all()?
        .into_iter()
        .flat_map(|journal| journal.addresses)
        .collect();
    let find = |spec: &Spec| {
        if here.iter().any(|placed| placed.address == spec.address) {
            return place(spec, here).map_err(|e| Failure::new(Status::Usage, e.to_string()));
        }
        // Away already, by a step that was done before, or with another file system.
        before.iter().find(|placed| placed.address == spec.address).cloned().ok_or_else(|| {
            let text = format!(
                "{} is not an address of this node: write one that its clients use, or none if they come \
                 through an address of another machine, and are kept away there",
                spec.address
            );
            Failure::new(Status::Usage, text)
        })
    };
    given.iter().map(find).collect()
}
