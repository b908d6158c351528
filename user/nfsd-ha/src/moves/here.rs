// SPDX-License-Identifier: GPL-2.0
//! The steps B-1 to B-5: a file system comes to this node, from another one or back.
//!
//! What is there already is left as it is, so every step may be repeated.

use super::carried;
use super::steps::{joined, specs, Show, Steps};
use crate::drain;
use crate::failure::{Failure, Status};
use crate::output;
use anyhow::Result;
use nfsd_ha::control::Control;
use nfsd_ha::exports::{self, Export};
use nfsd_ha::journal::Journal;
use nfsd_ha::list::List;
use nfsd_ha::mounts::{self, Mount, Mounts, Source};
use nfsd_ha::net::address;
use nfsd_ha::net::announce::Announcer;
use nfsd_ha::net::connections::Connection;
use nfsd_ha::net::place::Placed;
use nfsd_ha::net::tickle::Tickler;
use nfsd_ha::scope::{Fsid, Scope};
use nfsd_ha::takeover::{take_over, TakenOver};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The steps, in their order.
pub const STEPS: &[&str] = &["mount", "takeover", "export", "address", "clients"];
/// The steps if the export comes later than the address.
pub const STEPS_LATER: &[&str] = &["mount", "takeover", "address", "export", "clients"];

/// What is to be exported.
pub enum Exports {
    /// These.
    These(Vec<Export>),
    /// What /etc/exports has.
    File,
}

/// A file system that comes.
pub struct Here<'a> {
    /// Where it is mounted, or is to be.
    pub path: PathBuf,
    /// What to mount, if /etc/fstab does not say it.
    pub source: Option<Source>,
    /// Is it to be mounted?
    pub mounts: bool,
    /// The module.
    pub control: &'a Control,
    /// Who may reclaim; `None` if nothing was released, so that nobody has to.
    pub list: Option<&'a List>,
    /// What to export.
    pub exports: Exports,
    /// The addresses, and where they are to be.
    pub addresses: Vec<Placed>,
    /// Who was connected to them.
    pub connections: Vec<Connection>,
    /// How long clients have to reclaim, in seconds; as long as the server's own grace period if it is not said.
    pub seconds: Option<u32>,
    /// Take clients over whose server had another scope.
    pub force: bool,
    /// The address comes before the export.
    pub later: bool,
    /// How long NLM clients are told.
    pub notify: Duration,
}

impl Here<'_> {
    /// Does all steps. Returns warnings: what does not stop a move, but somebody has to look after.
    pub fn go(&self, steps: &mut Steps) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        steps.step("mount", || self.mount())?;
        let mount = self.mounted()?;
        let mut taken = Vec::new();
        steps.step("takeover", || {
            taken = self.takeover(&mount)?;
            Ok(said_of(&taken))
        })?;
        warnings.extend(self.warnings(&taken));
        if self.later {
            steps.step("address", || self.address())?;
            steps.step("export", || self.export(&mount))?;
        } else {
            steps.step("export", || self.export(&mount))?;
            steps.step("address", || self.address())?;
        }
        steps.line(&format!(
            "  the address is here after {:.3} s",
            steps.seconds()
        ));
        // Who hears of it when the grace period is over loses its locks.
        let grace = taken
            .iter()
            .map(|taken| Duration::from_secs(taken.seconds))
            .min();
        let limit = self.notify.min(grace.unwrap_or_default());
        steps.step("clients", || self.clients(limit, &mut warnings))?;
        Ok(warnings)
    }

    /// The mount at the path; with a cluster file system, that which the path is on.
    fn mounted(&self) -> Result<Mount> {
        let mounts = Mounts::read()?;
        let mount = if self.mounts {
            mounts.on(&self.path)
        } else {
            mounts.of(&self.path)
        };
        mount
            .cloned()
            .ok_or_else(|| mounts::Error::NotMounted(self.path.clone()).into())
    }

    /// B-1
    fn mount(&self) -> Result<String> {
        let path = self.path.display();
        if !self.mounts || Mounts::read()?.on(&self.path).is_some() {
            return Ok(format!("{path}: there already"));
        }
        mounts::mount(&self.path, self.source.as_ref())?;
        Ok(path.to_string())
    }

    /// B-2: who is on the list may reclaim, before anybody comes.
    fn takeover(&self, mount: &Mount) -> Result<Vec<TakenOver>> {
        let Some(list) = self.list else {
            return Ok(Vec::new());
        };
        let take = |scope| take_over(self.control, list, scope, self.seconds, self.force);
        let taken: Result<Vec<_>, _> = self.scopes(mount, list).iter().map(take).collect();
        Ok(taken?)
    }

    /// What may go wrong for clients.
    fn warnings(&self, taken: &[TakenOver]) -> Vec<String> {
        let mut warnings = Vec::new();
        let both = taken
            .iter()
            .map(|taken| taken.also_clients_here)
            .max()
            .unwrap_or(0);
        if both > 0 {
            let file = self.control.path("floating_addresses");
            warnings.push(format!(
                "{both} of these clients are clients of this server already and will lose what they hold there: \
                 before the next move, write the address that moves to {} on both servers, then let the clients \
                 come",
                file.display()
            ));
        }
        if let Some((ours, theirs)) = taken.iter().find_map(|taken| taken.other_scope.as_ref()) {
            warnings.push(format!(
                "the server scope is {ours} here and was {theirs} there"
            ));
        }
        warnings
    }

    /// The scopes that are in grace: the file system. While it is not exported yet, or if others use it, too,
    /// its exports.
    fn scopes(&self, mount: &Mount, list: &List) -> Vec<Scope> {
        let (major, minor) = mount.device;
        let device = Scope::Export(Fsid::Device { major, minor });
        let fsids = match &self.exports {
            Exports::These(exports) => fsids(exports),
            Exports::File => fsids(&carried::exports(list)),
        };
        let numbers = fsids.into_iter().map(Scope::Export);
        if !self.mounts && numbers.len() > 0 {
            return numbers.collect();
        }
        std::iter::once(device)
            .chain(numbers.filter(|_| self.later))
            .collect()
    }

    /// B-3
    fn export(&self, mount: &Mount) -> Result<String> {
        let here = || -> Result<Vec<Export>> {
            let all = exports::read(Path::new(exports::ETAB))?;
            let mounts = Mounts::read()?;
            Ok(exports::on(&all, &mounts, mount.device).cloned().collect())
        };
        let before = here()?;
        match &self.exports {
            Exports::These(exports) => {
                // Also with other options: exportfs changes them.
                let new: Vec<Export> = exports
                    .iter()
                    .filter(|export| !before.contains(export))
                    .cloned()
                    .collect();
                exports::export(&new)?;
                Ok(specs(exports))
            }
            Exports::File if !before.is_empty() => Ok(format!("{}: there already", specs(&before))),
            Exports::File => {
                exports::export_all()?;
                let now = here()?;
                if now.is_empty() {
                    let text = format!(
                        "/etc/exports has nothing on {}: say --export 'CLIENT:PATH(OPTIONS)'",
                        mount.point.display()
                    );
                    return Err(Failure::new(Status::Failed, text));
                }
                Ok(format!("{}, as /etc/exports says", specs(&now)))
            }
        }
    }

    /// B-4, and the first announcement and tickle ACKs.
    fn address(&self) -> Result<String> {
        if self.addresses.is_empty() {
            return Ok("none".into());
        }
        // One that has left from here, by a move that was interrupted or by hand.
        let addresses: Vec<IpAddr> = self.addresses.iter().map(|placed| placed.address).collect();
        drain::end(self.control, &addresses)?;
        for placed in &self.addresses {
            address::add(placed)?;
        }
        for announcer in self.announcers()? {
            announcer.send()?;
        }
        self.tickler()?.send(&self.connections, 0);
        Ok(joined(&self.addresses))
    }

    pub(super) fn announcers(&self) -> Result<Vec<Announcer>> {
        self.addresses
            .iter()
            .map(|placed| Ok(Announcer::new(placed)?))
            .collect()
    }

    pub(super) fn tickler(&self) -> Result<Tickler> {
        let addresses: Vec<IpAddr> = self.addresses.iter().map(|placed| placed.address).collect();
        Ok(Tickler::new(&addresses)?)
    }

    /// Says what would be done.
    pub fn show_plan(&self, mounts: &Mounts, show: Show) {
        let steps = Steps::new(show, "move-in", STEPS, String::new());
        let path = self.path.display();
        let mounted = !self.mounts || mounts.on(&self.path).is_some();
        let source = self
            .source
            .as_ref()
            .map_or("what /etc/fstab says".into(), |s| mounts::shown(&s.device));
        let exports = match &self.exports {
            Exports::These(exports) => joined(exports),
            Exports::File => "what is exported already, or what /etc/exports has".into(),
        };
        let (nfs4, nlm) = self
            .list
            .map_or((0, 0), |list| (list.nfs4().count(), list.nlm().count()));
        steps.line(&format!(
            "mount on {path}: {}",
            if mounted { "there already" } else { &source }
        ));
        steps.line(&format!(
            "may reclaim:      {nfs4} clients of NFSv4 and {nlm} of NLM"
        ));
        let recorded = self.list.map_or(0, |list| carried::recorded(list).len());
        if recorded > 0 {
            steps.line(&format!(
                "would be told:    those of {recorded} clients of NLM on record that have used these exports"
            ));
        }
        steps.line(&format!("would export:     {exports}"));
        steps.line(&format!("would add:        {}", joined(&self.addresses)));
    }
}

/// Who may reclaim, in short.
fn said_of(taken: &[TakenOver]) -> String {
    let said = taken.iter().map(|taken| {
        format!(
            "{} is in grace for {} s; {} clients of NFSv4 and {} of NLM may reclaim{}",
            taken.scope,
            taken.seconds,
            taken.nfs4_clients,
            taken.nlm_clients,
            if taken.nobody_else {
                ", and nobody else"
            } else {
                ""
            },
        )
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() {
        "nothing was released".into()
    } else {
        said.join("; ")
    }
}

/// The fsids that options of exports give.
pub(super) fn fsids<'a>(exports: impl IntoIterator<Item = &'a Export>) -> BTreeSet<Fsid> {
    exports.into_iter().filter_map(Export::fsid).collect()
}

/// Says how a move to this node ended.
pub fn end(journal: &Journal, steps: &Steps, warnings: &[String], show: Show) -> Result<()> {
    if show == Show::Later {
        let json = serde_json::json!({
            "path": journal.path().to_string_lossy(), "steps": steps.done, "warnings": warnings,
        });
        return output::json(&json);
    }
    warnings.iter().for_each(|warning| output::warn(warning));
    Ok(())
}
