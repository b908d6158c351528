// SPDX-License-Identifier: GPL-2.0
//! `nfsd-ha unexport`: unexport, and release what was held through that export.

use crate::failure::{Failure, Status};
use crate::moves::steps::{specs, Show, Steps};
use crate::output;
use crate::Common;
use anyhow::{bail, Result};
use nfsd_ha::control::Control;
use nfsd_ha::exports::{self, caches, Export};
use nfsd_ha::mounts::{self, Mounts};
use nfsd_ha::scope::{Fsid, Scope};
use nfsd_ha::users;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The steps, in their order.
const STEPS: &[&str] = &["unexport", "release", "forget"];

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  nfsd-ha unexport '*:/srv/ha' && umount /srv/ha
  nfsd-ha unexport '192.0.2.0/24:/srv/ha' '[2001:db8::]/32:/srv/ha'")]
pub struct Args {
    /// What to unexport, as for exportfs -u: CLIENT:PATH, [IPV6-ADDRESS]/LENGTH:PATH; or a path, to whomever it
    /// is exported
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<String>,
    /// Only unexport: clients keep their locks, and the file system stays in use as long as they do
    #[arg(long)]
    keep_locks: bool,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let all = exports::read(Path::new(exports::ETAB))?;
        let gone = self.meant(&all)?;
        let left: Vec<&Export> = all
            .iter()
            .filter(|one| !gone.iter().any(|other| other.is_same(one)))
            .collect();
        let control = if self.keep_locks {
            None
        } else {
            Some(Control::open()?)
        };
        let fsids = fsids(&gone)?;
        if let Some(control) = &control {
            shared(&fsids, &gone, &left)?;
            connected(control, &fsids)?;
            used(control, &fsids, &gone)?;
        }
        let show = if common.json {
            Show::Later
        } else {
            Show::Output
        };
        let turn_back = format!(
            "To turn back: {}",
            gone.iter()
                .map(|one| format!(
                    "exportfs -o {} '{}'",
                    one.options,
                    mounts::shown(&one.spec())
                ))
                .collect::<Vec<_>>()
                .join("; ")
        );
        let mut steps = Steps::new(show, "unexport", STEPS, turn_back);
        steps.step("unexport", || {
            exports::unexport(&gone)?;
            Ok(specs(&gone))
        })?;
        if let Some(control) = &control {
            steps.step("release", || release(control, &fsids))?;
        }
        // A path that is exported to others stays known.
        let paths: Vec<PathBuf> = gone
            .iter()
            .map(|one| one.path.clone())
            .filter(|path| !left.iter().any(|one| one.path == *path))
            .collect();
        steps.step("forget", || {
            caches::forget(|path| paths.iter().any(|gone| gone == path))?;
            Ok("the kernel knows it no more".into())
        })?;
        if show == Show::Later {
            output::json(&serde_json::json!({ "steps": steps.done }))?;
        }
        Ok(())
    }

    /// The exports that are meant; all must be there.
    fn meant(&self, all: &[Export]) -> Result<Vec<Export>> {
        let mut gone: Vec<Export> = Vec::new();
        for spec in &self.specs {
            let found: Vec<&Export> = if spec.starts_with('/') {
                all.iter()
                    .filter(|one| one.path == Path::new(spec))
                    .collect()
            } else {
                let wanted: Export = spec
                    .parse()
                    .map_err(|e: exports::NoSpec| Failure::new(Status::Usage, e.to_string()))?;
                all.iter().filter(|one| one.is_same(&wanted)).collect()
            };
            if found.is_empty() {
                return Err(Failure::new(
                    Status::Usage,
                    exports::Error::NotExported(spec.clone()).to_string(),
                ));
            }
            gone.extend(
                found
                    .into_iter()
                    .filter(|one| !gone.contains(one))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        Ok(gone)
    }
}

/// What clients' handles name these exports by: as an option says, and as the kernel knows.
fn fsids(gone: &[Export]) -> Result<BTreeSet<Fsid>> {
    let mut all: BTreeSet<Fsid> = gone.iter().filter_map(Export::fsid).collect();
    let known = caches::known()?
        .into_iter()
        .filter(|known| gone.iter().any(|one| one.path == known.path));
    all.extend(known.filter_map(|known| known.fsid));
    Ok(all)
}

/// Fails if others are exported the same: what they hold is released, too, as it is the same scope.
fn shared(fsids: &BTreeSet<Fsid>, gone: &[Export], left: &[&Export]) -> Result<()> {
    let same = |one: &&&Export| {
        gone.iter().any(|other| other.path == one.path)
            || one.fsid().is_some_and(|fsid| fsids.contains(&fsid))
    };
    let others: Vec<String> = left
        .iter()
        .filter(same)
        .map(|one| mounts::shown(&one.spec()))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let text = format!(
        "this is also exported as {}, and their clients would lose their locks, too: name all, or say --keep-locks",
        others.join(", ")
    );
    Err(Failure::new(Status::Busy, text))
}

/// Fails if a client of NFSv4 that holds something there is connected: it would lose it.
fn connected(control: &Control, fsids: &BTreeSet<Fsid>) -> Result<()> {
    let clients = control.nfs4_clients()?;
    let busy = clients
        .iter()
        .find_map(|one| Some((one, one.address.filter(|_| fsids.contains(&one.fsid))?)));
    let Some((client, address)) = busy else {
        return Ok(());
    };
    let text = format!(
        "NFSv4 client {} holds something there, and is connected to {address}: have it unmount, take the \
         address away, or say --keep-locks. Nothing is changed",
        client.client
    );
    Err(Failure::new(Status::Busy, text))
}

/// Fails if somebody uses the file system while clients hold something there: the module would release nothing,
/// as umount would fail (docs/control.md).
fn used(control: &Control, fsids: &BTreeSet<Fsid>, gone: &[Export]) -> Result<()> {
    let nlm = control.nlm_clients()?.clients;
    let held = nlm
        .iter()
        .any(|one| fsids.contains(&one.fsid) && one.locks != Some(0))
        || control
            .nfs4_clients()?
            .iter()
            .any(|one| fsids.contains(&one.fsid));
    let mounts = Mounts::read()?;
    let devices: BTreeSet<_> = gone
        .iter()
        .filter_map(|one| Some(mounts.of(&one.path)?.device))
        .collect();
    let users: Vec<String> = devices
        .into_iter()
        .filter(|_| held)
        .flat_map(users::of)
        .map(|user| user.to_string())
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the file system is in use, so that clients' locks are not released: end this, or say --keep-locks. \
         Nothing is changed:\n  {}",
        users.join("\n  ")
    );
    Err(Failure::new(Status::Busy, text))
}

fn release(control: &Control, fsids: &BTreeSet<Fsid>) -> Result<String> {
    let mut what = Vec::new();
    for fsid in fsids {
        if matches!(fsid, Fsid::Uuid8(_) | Fsid::Uuid4(_)) {
            continue; // folded UUIDs are no scopes
        }
        let released = match control.release(&Scope::Export(*fsid)) {
            Ok(released) => released,
            Err(e) => match e.in_the_way() {
                Some(busy) => {
                    bail!("nothing is released of {fsid}, as something is in the way: {busy}")
                }
                None => return Err(e.into()),
            },
        };
        if !released.left.is_empty() {
            bail!("not all is released: {}", released.left.join("; "));
        }
        what.push(crate::moves::away::summary(&released));
    }
    Ok(if what.is_empty() {
        "nobody has asked for it yet".into()
    } else {
        what.join("; ")
    })
}
