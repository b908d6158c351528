// SPDX-License-Identifier: GPL-2.0

//! What is exported, as this server's requests have found it: the one table of [`Roots`].
//!
//! Each request of each version asks for its export, so that a note of what is known already has to cost next to
//! nothing: a few words are compared, without a lock.
//!
//! Lock order: [`ROOTS`] is taken alone, or under any other; nothing is taken under it.

use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::recent::{Digest, Recent};
use crate::base::setup::Setup;
use crate::base::vfs::{Path, PathRef};
use crate::scopes::place::{ExportId, Form, Place};
use crate::scopes::roots::{Export, Room, Root, Roots, MAX_DEPTH};
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::svc_export::{root, Domain, ExportRef, SvcExport};
use kernel::pr_warn_once;
use kernel::prelude::*;
use kernel::sync::{new_spinlock, SpinLock};

static ROOTS: Global<SpinLock<Option<Roots>>> = Global::new();

/// What was noted lately: rpc.mountd, and no client, decides of what there are digests.
static NOTED: Recent = Recent::new();
/// Notes that are forgotten under the lock in one go.
const BATCH: usize = 64;

/// Prepares this file.
pub(crate) fn init_module(setup: &Setup) {
    ROOTS.init(setup, new_spinlock!(None, "nfsd_ha::ROOTS"));
    *ROOTS.lock() = Some(Roots::default());
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let roots = ROOTS.lock().take();
    drop(roots);
    note_again();
}

/// All that a note of an export and a form of handle depends on, as things are now.
fn digest(net: Net<'_>, form: &Form, export: SvcExport<'_>) -> Digest {
    let words = Iterator::chain(export.words().into_iter(), form.words());
    NOTED.digest(Iterator::chain(words, [net.cookie()]))
}

/// Was it noted lately to which export a form of handle leads? Does not sleep.
#[inline]
pub(crate) fn is_noted(net: Net<'_>, form: &Form, export: SvcExport<'_>) -> bool {
    NOTED.has(digest(net, form, export))
}

/// Notes to which export a form of handle leads. Returns where that is. May sleep.
///
/// `parent` finds the export that one is below. Fails as it does, and has noted nothing then.
pub(crate) fn note(
    net: Net<'_>,
    form: &Form,
    export: SvcExport<'_>,
    parent: &impl Fn(SvcExport<'_>) -> Result<Option<ExportRef>>,
) -> Result<Place> {
    // Before it is looked at: what changes from now on, is found.
    let digest = digest(net, form, export);
    let net = net.cookie();
    let export = describe(net, export, parent, MAX_DEPTH)?;
    if insert(net, Some(form), &export) {
        NOTED.add(digest);
    }
    Ok(place(net, form, Some(export.domain)))
}

/// What an export is. If it may be below another one, and that is not known, that is looked for and noted, and so on.
fn describe(
    net: u64,
    export: SvcExport<'_>,
    parent: &impl Fn(SvcExport<'_>) -> Result<Option<ExportRef>>,
    depth: usize,
) -> Result<Export> {
    let mut own = export.describe();
    if !export.is_mount() || own.how.pseudo || depth == 0 {
        return Ok(own);
    }
    let roots = ROOTS.lock();
    let known = roots.as_ref().map(|roots| roots.below(net, &own));
    drop(roots);
    (own.below, own.how.asked) = known.unwrap_or_default();
    // Once is enough: it would wait for rpc.mountd again and again.
    if own.below.is_none() && !own.how.asked && (own.how.crossmnt || own.how.nohide) {
        let above = parent(export)?;
        own.how.asked = true;
        if let Some(above) = above.as_ref().and_then(ExportRef::get) {
            let above = describe(net, above, parent, depth - 1)?;
            insert(net, None, &above);
            own.below = Some(above.root);
        }
    }
    own.below = own.below.or_else(|| nearest(net, export));
    Ok(own)
}

/// The first directory above an export that is noted as one for more than that it leads to others. May sleep.
fn nearest(net: u64, export: SvcExport<'_>) -> Option<Root> {
    let mut at = export.path().get();
    while at.up() {
        let root = root(at.path());
        if ROOTS.lock().as_ref()?.is_real(net, &root) {
            return Some(root);
        }
    }
    None
}

/// Notes an export. Returns whether its digest is good. May sleep.
fn insert(net: u64, form: Option<&Form>, export: &Export) -> bool {
    let mut room = None;
    let mut result = Err(ENOMEM);
    for _ in 0..2 {
        result = match (*ROOTS.lock()).as_mut() {
            Some(roots) => roots.note(net, form, export, &mut room),
            None => return false,
        };
        if result != Err(ENOMEM) {
            break;
        }
        room = Room::new().ok();
    }
    match result {
        // No digest of what was known is good any more.
        Ok(true) => note_again(),
        Ok(false) => return true,
        // The next request tries again.
        Err(e) => pr_warn_once!(
            "which handles lead to an export cannot be noted, error {}\n",
            e.to_errno()
        ),
    }
    false
}

/// A number that changes when what is known of an export may have changed, so that another may be meant by a handle.
pub(crate) fn epoch() -> u64 {
    NOTED.epoch()
}

/// Has each export noted again that somebody finds from now on: another scope is in grace. Does not sleep.
pub(crate) fn note_again() {
    NOTED.forget();
}

/// Where a file is that is named by a handle of this form, by a client of a domain. Does not sleep.
fn place(net: u64, form: &Form, domain: Option<u64>) -> Place {
    match ROOTS.lock().as_ref() {
        Some(roots) => roots.by_form(net, form, domain),
        None => Place::of_handle(form.fsid()),
    }
}

/// Where a file is that is named by a handle of this form, by a client of the domain if that is known. Does not sleep.
pub(crate) fn place_of_form(net: Net<'_>, form: &Form, domain: Option<Domain<'_>>) -> Place {
    place(net.cookie(), form, domain.map(Domain::number))
}

/// Where a file is that is named by a handle that says this, and was found on an export. Does not sleep.
pub(crate) fn place_of(net: Net<'_>, handle: Option<Fsid>, export: Option<SvcExport<'_>>) -> Place {
    let Some(export) = export else {
        return Place::of_handle(handle);
    };
    let own = export.describe();
    // One without a number may have been given one since, or be a part of another.
    let known = match own.fsid {
        Fsid::Num(_) => None,
        _ => ROOTS
            .lock()
            .as_ref()
            .and_then(|roots| roots.by_root(net.cookie(), &own.root, own.domain)),
    };
    let place = known.unwrap_or(Place {
        export: Some(own.fsid),
        device: Some(own.root.device),
        file_system: Some(own.file_system),
        ..Place::default()
    });
    Place { handle, ..place }
}

/// Is an export of a scope one that shows what is mounted below it? Does not sleep.
pub(crate) fn shows_below(net: Net<'_>, scope: &Scope) -> bool {
    let roots = ROOTS.lock();
    let mut all = roots.iter().flat_map(|roots| roots.all(net.cookie()));
    all.any(|(place, crossmnt)| crossmnt && scope.covers(&place))
}

/// The exports of a scope, as they are noted; of an address all. Fails with `ENOMEM`. May sleep.
pub(crate) fn exports_of(net: u64, scope: &Scope) -> Result<KVVec<ExportId>> {
    let mut found = KVVec::new();
    loop {
        let roots = ROOTS.lock();
        let all = || roots.iter().flat_map(|roots| roots.all(net));
        let is_of = |place: &Place| matches!(scope, Scope::Server(_)) || scope.covers(place);
        let of_scope = || all().filter(|(place, _)| is_of(place));
        let count = of_scope().count();
        if count <= found.capacity() {
            for (place, _) in of_scope() {
                if let Some(export) = place.export_id() {
                    found.push(export, GFP_ATOMIC)?;
                }
            }
            return Ok(found);
        }
        drop(roots);
        found = KVVec::with_capacity(count, GFP_KERNEL)?;
    }
}

/// Is a directory exported, or was it? Does not sleep.
pub(crate) fn is_root(net: Net<'_>, at: &PathRef) -> bool {
    let root = root(at.path());
    let roots = ROOTS.lock();
    let found = roots
        .as_ref()
        .and_then(|roots| roots.by_directory(net.cookie(), &root));
    found.is_some()
}

/// Calls `f` with each export that is below one of a scope, but is a scope of its own.
pub(crate) fn each_beside(
    net: Net<'_>,
    scope: &Scope,
    mut f: impl FnMut(Fsid) -> Result,
) -> Result {
    let mut last = None;
    loop {
        let next = ROOTS
            .lock()
            .as_ref()
            .and_then(|roots| roots.beside(net.cookie(), scope, last));
        let Some(next) = next else {
            return Ok(());
        };
        f(next.fsid)?;
        last = Some(next);
    }
}

/// Where a directory is, if a file system that can be exported, and that is on a block device, is mounted there. Does
/// not sleep.
pub(crate) fn place_of_mount(net: Net<'_>, at: Path<'_>) -> Option<Place> {
    if !at.is_mounted() || !at.is_exportable() {
        return None;
    }
    let root = root(at);
    let roots = ROOTS.lock();
    Some(Place {
        handle: None,
        export: roots.as_ref()?.by_directory(net.cookie(), &root),
        device: Some(root.device),
        above: None,
        file_system: Some(at.inode().file_system),
    })
}

/// The device of the file system that a scope is on. Of an export it is known once a request has asked for that. Does
/// not sleep.
pub(crate) fn device_of(net: u64, scope: &Scope) -> Option<Fsid> {
    match scope {
        Scope::Export(device @ Fsid::Dev { .. }) => Some(*device),
        Scope::Export(fsid) => ROOTS.lock().as_ref()?.device_of(net, fsid),
        Scope::Server(_) => None,
    }
}

/// A server stops: what its exports were is of no use any more. Does not sleep.
pub(crate) fn forget(net: Net<'_>) {
    note_again();
    loop {
        let all = match (*ROOTS.lock()).as_mut() {
            Some(roots) => roots.forget(net.cookie(), BATCH),
            None => true,
        };
        if all {
            break;
        }
    }
}
