// SPDX-License-Identifier: GPL-2.0
//! The steps: a file system leaves this node.
//!
//! All that takes time comes before the address goes, and between the first step and the last one there
//! is one process (exportfs) and no sleep, unless the kernel has to be waited for.

use super::carried;
use super::plan::Plan;
use super::steps::{joined, specs, Steps};
use crate::drain;
use crate::output::{self, or_dash};
use anyhow::{bail, Context, Result};
use nfsd_ha::control::{Control, Released, Then};
use nfsd_ha::exports::{self, caches};
use nfsd_ha::journal::{Journal, Notes};
use nfsd_ha::list::{self, Held, List};
use nfsd_ha::mounts::Mounts;
use nfsd_ha::net::leave;
use nfsd_ha::net::sockets::{self, Ports};
use nfsd_ha::scope::{Fsid, Scope};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// The steps, in their order.
pub const STEPS: &[&str] = &[
    "prepare", "drain", "address", "list", "unexport", "release", "umount",
];

/// A file system that leaves.
pub struct Away<'a> {
    /// What leaves.
    pub plan: &'a Plan,
    /// The module.
    pub control: &'a Control,
    /// Where the database of this server's nfsdcld or nfsd-had is, which counts in the server's own grace period.
    pub database: &'a Path,
    /// Where the move is noted.
    pub notes: &'a Notes<'a>,
    /// What is noted.
    pub journal: Journal,
    /// Does the move begin now? Else an earlier run has come to where nobody knows.
    pub begins: bool,
    /// Is it to be unmounted?
    pub umount: bool,
    /// How long the answers to the clients of its addresses may take, in seconds.
    pub drain: u32,
    /// What becomes of their connections then.
    pub then: Then,
}

impl Away<'_> {
    /// Does all steps. Returns the list of who may reclaim.
    pub fn go(&mut self, steps: &mut Steps) -> Result<List> {
        let gone = self.leave(steps);
        // Who puts an address back by hand, or goes on here after a failure, is to be served.
        if let Err(e) = drain::end(self.control, &self.addresses()) {
            output::warn(&format!("clients are still refused: {e:#}"));
        }
        gone
    }

    fn leave(&mut self, steps: &mut Steps) -> Result<List> {
        steps.step("prepare", || self.prepare())?;
        steps.step("drain", || self.drain())?;
        steps.step("address", || self.address())?;
        let mut list = None;
        steps.step("list", || {
            let (made, what) = self.list()?;
            list = Some(made);
            Ok(what)
        })?;
        let mut list = list.expect("the step has made it");
        steps.step("unexport", || self.unexport())?;
        steps.step("release", || self.release(&mut list))?;
        if self.umount {
            steps.step("umount", || self.unmount())?;
        }
        Ok(list)
    }

    /// What need not be done while the address is away: notes what is there, and waits until a flush of
    /// the kernel's caches has an effect.
    ///
    /// Who may reclaim is noted, too. After a power cut nobody else knows it, and without it whoever goes on
    /// would find that nobody holds anything. The step `list` does it again, when nobody can come any more.
    fn prepare(&mut self) -> Result<String> {
        caches::settle()?;
        self.note_connections()?;
        if self.begins {
            self.save_list(&mut self.holders()?)?;
        }
        self.notes.save(&self.journal)?;
        Ok(format!("noted in {}", nfsd_ha::journal::DIRECTORY))
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.plan
            .addresses
            .iter()
            .map(|placed| placed.address)
            .collect()
    }

    /// Notes who is connected, beside those who were when a run before this one looked.
    fn note_connections(&mut self) -> Result<()> {
        let mut all = sockets::established(&self.addresses(), Ports::Any)?;
        all.extend(self.journal.connections());
        all.sort();
        all.dedup();
        self.journal.set_connections(&all);
        Ok(())
    }

    /// Before the addresses go: what was taken is answered, so that nobody asks for it again on the other node.
    fn drain(&mut self) -> Result<String> {
        let here: Vec<IpAddr> = self.plan.present.iter().map(|one| one.address).collect();
        if here.is_empty() {
            return Ok("no address is here".into());
        }
        if self.control.drains()?.is_none() {
            return Ok(
                "not done, as this module cannot: what is not answered will be done again".into(),
            );
        }
        self.note_connections()?;
        let drains = drain::drain(self.control, &here, self.drain, self.then)?;
        Ok(drain::said_of(&drains))
    }

    /// the addresses go, and what is left of connections to them is forgotten.
    fn address(&mut self) -> Result<String> {
        let addresses = self.addresses();
        if addresses.is_empty() {
            return Ok("none".into());
        }
        let closed = leave::leave(&self.plan.addresses)?;
        Ok(format!(
            "{}: away; {closed} connections forgotten",
            joined(&self.plan.addresses)
        ))
    }

    /// Who may reclaim is listed, and kept, before anything is released.
    fn list(&self) -> Result<(List, String)> {
        let before = match self.begins {
            true => None,
            false => self.notes.list()?,
        };
        let before = before.map(|before| List::parse(&before)).transpose();
        let before = before.context("the list of the move that was begun")?;
        let mut list = match (before, &self.plan.mount) {
            // Unless this node was reset in the midst of it, all is done.
            (Some(before), None) if before.released || !self.control.in_own_grace()? => {
                return Ok((before, "was made before".into()));
            }
            // Who came at the last moment is on record.
            (Some(before), None) => {
                let scope = before.scope.unwrap_or(Scope::Export(Fsid::Number(0)));
                List::joined(scope, [before, self.holders()?])
            }
            (Some(before), Some(_)) => self.holders()?.after(before),
            (None, None) if !self.control.in_own_grace()? => bail!(
                "nobody has noted who may reclaim, and this server has forgotten it: bring {} to the other \
                 server with move-in --no-list; its clients of NFSv4 lose their locks",
                self.plan.path.display()
            ),
            (None, _) => self.holders()?,
        };
        self.save_list(&mut list)?;
        let (nfs4, nlm) = (list.nfs4().count(), list.nlm().count());
        Ok((
            list,
            format!("{nfs4} clients of NFSv4 and {nlm} of NLM may reclaim"),
        ))
    }

    /// Who holds something now, and who may still reclaim.
    fn holders(&self) -> Result<List> {
        list_of(
            self.control,
            self.database,
            &self.scopes(),
            &self.plan.fsids,
        )
    }

    /// Keeps a list, with what it carries besides.
    fn save_list(&self, list: &mut List) -> Result<()> {
        let (exports, connections) = (self.journal.exports(), self.journal.connections());
        carried::note(list, &exports, &connections);
        Ok(self.notes.save_list(list.to_string().as_bytes())?)
    }

    ///
    fn unexport(&self) -> Result<String> {
        exports::unexport(&self.plan.exports)?;
        Ok(if self.plan.exports.is_empty() {
            "nothing was exported".into()
        } else {
            specs(&self.plan.exports)
        })
    }

    /// all that clients hold is released, or nothing.
    fn release(&self, list: &mut List) -> Result<String> {
        let mut what = Vec::new();
        let mut all = Held::NOTHING;
        for scope in self.scopes() {
            let released = match self.control.release(&scope) {
                Ok(released) => released,
                Err(e) => match e.in_the_way() {
                    Some(busy) => bail!("nothing is released, as something is in the way: {busy}"),
                    None => return Err(e.into()),
                },
            };
            if !released.left.is_empty() {
                bail!("not all is released: {}", released.left.join("; "));
            }
            all = all.plus(&Held::of_release(&released));
            what.push(summary(&released));
        }
        // A release that is repeated finds nothing; and what is not mounted any more was not released now.
        let before = list.released && all.is(&Held::NOTHING);
        let is_here = self.plan.mount.is_some();
        list.released = before || is_here && list.held.is_some_and(|held| held.is(&all));
        if !list.released {
            what.push("not what was listed, so the grace period will end by its time".into());
        }
        self.notes.save_list(list.to_string().as_bytes())?;
        Ok(what.join("; "))
    }

    /// What is released: the file system, or if others go on to use it, its exports.
    fn scopes(&self) -> Vec<Scope> {
        match &self.plan.mount {
            Some(mount) if self.umount => {
                let (major, minor) = mount.device;
                vec![Scope::Export(Fsid::Device { major, minor })]
            }
            Some(_) => self.plan.fsids.iter().copied().map(Scope::Export).collect(),
            None => Vec::new(),
        }
    }

    ///
    fn unmount(&self) -> Result<String> {
        let Some(mount) = &self.plan.mount else {
            return Ok("was done before".into());
        };
        let mounts = Mounts::read()?;
        caches::forget(|path| mounts.is_on(path, mount.device))?;
        mount.unmount()?;
        Ok(mount.point.display().to_string())
    }
}

/// Who may reclaim what is on some exports, as one list; `scopes` are what is released, and may have been in
/// grace themselves.
pub fn list_of(
    control: &Control,
    database: &Path,
    scopes: &[Scope],
    fsids: &BTreeSet<Fsid>,
) -> Result<List> {
    let mut all: Vec<Scope> = scopes.to_vec();
    all.extend(
        fsids
            .iter()
            .copied()
            .map(Scope::Export)
            .filter(|scope| !scopes.contains(scope)),
    );
    let lists = all
        .iter()
        .map(|scope| list::of_server(control, database, scope))
        .collect::<Result<Vec<_>, _>>();
    Ok(List::joined(
        all.first()
            .copied()
            .unwrap_or(Scope::Export(Fsid::Number(0))),
        lists?,
    ))
}

/// What was released, in short.
pub fn summary(released: &Released) -> String {
    format!(
        "NLM: {} locks of {} clients; NFSv4: {} opens, {} locks of {} clients",
        or_dash(released.locks),
        or_dash(released.clients),
        or_dash(released.nfs4_opens),
        or_dash(released.nfs4_locks),
        or_dash(released.nfs4_clients)
    )
}
