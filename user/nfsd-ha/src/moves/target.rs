// SPDX-License-Identifier: GPL-2.0
//! Which file system `SCOPE|PATH` means.

use crate::failure::{Failure, Status};
use anyhow::Result;
use nfsd_ha::exports::{self, Export};
use nfsd_ha::journal::Journals;
use nfsd_ha::mounts::{self, Mounts};
use nfsd_ha::scope::{Fsid, Scope};
use std::path::{Path, PathBuf};

/// Where the file system is mounted, or is to be, that an admin has named: by that path, or by a scope of
/// one of its exports, which are exported here now, or are on `list`, or were when they moved last.
pub fn path_of(
    word: &str,
    mounts: &Mounts,
    list: &[Export],
    journals: &Journals,
) -> Result<PathBuf> {
    // No scope has a slash, so a directory that looks like one is written ./1234.
    if word.contains('/') || word == "." {
        let path = mounts::canonical(Path::new(word));
        return path.map_err(|e| Failure::new(Status::Usage, e.to_string()));
    }
    let scope: Scope = word
        .parse()
        .map_err(|e| Failure::new(Status::Usage, format!("{e}, or a path")))?;
    let Some(fsid) = scope.fsid() else {
        let text =
            format!("{scope} has no file system: write the path, and --address for the address");
        return Err(Failure::new(Status::Usage, text));
    };
    if let Fsid::Device { major, minor } = fsid {
        let mount = mounts.from((major, minor));
        return mount
            .map(|mount| mount.point.clone())
            .ok_or_else(|| unknown(word));
    }
    let here = exports::read(Path::new(exports::ETAB))?;
    let known = exports::caches::known()?
        .into_iter()
        .filter(|known| known.fsid == Some(fsid));
    let exported = here
        .iter()
        .chain(list)
        .filter(|export| export.fsid() == Some(fsid));
    let paths = exported
        .map(|export| export.path.clone())
        .chain(known.map(|known| known.path));
    let mut points: Vec<PathBuf> = paths
        .filter_map(|path| mounts.of(&path).map(|mount| mount.point.clone()))
        .collect();
    // A file system that is not mounted: the export seems to be on the one around it.
    let moved = journals.all()?.into_iter().filter(|journal| {
        journal
            .exports()
            .iter()
            .any(|export| export.fsid() == Some(fsid))
    });
    let moved: Vec<PathBuf> = moved.map(|journal| journal.path()).collect();
    if !moved.is_empty() {
        points = moved;
    }
    points.sort();
    points.dedup();
    match &points[..] {
        [point] => Ok(point.clone()),
        [] => Err(unknown(word)),
        _ => {
            let text =
                format!("{word} is on several file systems: write the path of the one that moves");
            Err(Failure::new(Status::Usage, text))
        }
    }
}

fn unknown(word: &str) -> anyhow::Error {
    let text = format!(
        "nothing is exported as {word} here: write the path where its file system is mounted"
    );
    Failure::new(Status::Usage, text)
}
