// SPDX-License-Identifier: GPL-2.0

//! What would keep a file system from being unmounted after a release, beside what is released.
//!
//! Who releases an export, or a device, is about to unmount the file system, so that another node can mount it. So its
//! clients lose nothing unless that will work. That is also said of an export that is one of several: only
//! while clients hold something of the others, it is not the last one that is released, and who uses the file system may
//! be there for these. Then only users of the files to be released are in the way, as `nlm_release.rs` sees to.
//!
//! An address has no file system: who releases that one does not unmount anything, or releases what is to be unmounted,
//! too.

use crate::base::net::Net;
use crate::base::submounts;
use crate::base::text::Text;
use crate::base::users;
use crate::base::vfs::PathRef;
use crate::nfs4::server::Server;
use crate::nlm::lockd::Lockd;
use crate::scopes::exported;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use core::fmt::Write;
use kernel::prelude::*;

/// What clients hold in a net namespace.
pub(crate) struct HeldBy<'a> {
    pub(crate) net: Net<'a>,
    pub(crate) lockd: Option<&'a Lockd>,
    pub(crate) server: Option<&'a Server<'a>>,
}

impl HeldBy<'_> {
    /// What `pick` finds in where clients hold something of NFSv4, or lockd has a file. May sleep; `pick` is asked with
    /// locks held.
    fn find<R>(&self, pick: impl Fn(&Place) -> Option<R>) -> Result<Option<R>> {
        if let Some(server) = self.server {
            let found = server.clients().find(|client| client.find_place(&pick));
            if found.is_some() {
                return Ok(found);
            }
        }
        let Some(lockd) = self.lockd else {
            return Ok(None);
        };
        let files = lockd.files(self.net, |place| pick(place).is_some())?;
        Ok(files.first().and_then(|file| pick(&file.place(self.net))))
    }

    /// Does a client hold something in such a place, or has lockd a file there? As [`HeldBy::find`].
    fn any(&self, is_wanted: impl Fn(&Place) -> bool) -> Result<bool> {
        let found = self.find(|place| Some(()).filter(|()| is_wanted(place)))?;
        Ok(found.is_some())
    }

    /// What is exported below a scope and is one of its own; or that something is held there, as who releases the one above
    /// means to unmount it, which takes the other away, too. May sleep.
    pub(crate) fn beside(&self, scope: &Scope) -> Result<Result<KVVec<Fsid>, Text>> {
        let mut beside = KVVec::new();
        exported::each_beside(self.net, scope, |fsid| Ok(beside.push(fsid, GFP_KERNEL)?))?;
        for fsid in &beside {
            let other = Scope::Export(*fsid);
            if self.any(|place| other.covers(place))? {
                let mut busy = Text::default();
                write!(
                    busy,
                    "{other} is exported below it, and clients hold something there: release that first"
                )?;
                return Ok(Err(busy));
            }
        }
        Ok(Ok(beside))
    }

    /// The devices of a scope on which, once it is released, clients hold nothing. May sleep.
    pub(crate) fn devices_to_leave(&self, scope: &Scope) -> Result<KVec<Fsid>> {
        let mut all = KVec::new();
        match scope {
            Scope::Server(_) => return Ok(all),
            Scope::Export(device @ Fsid::Dev { .. }) => all.push(*device, GFP_KERNEL)?,
            Scope::Export(_) => {
                let more = |all: &KVec<Fsid>| {
                    self.find(|place| {
                        let device = place.device.filter(|_| scope.covers(place))?;
                        Some(device).filter(|device| !all.contains(device))
                    })
                };
                while let Some(device) = more(&all)? {
                    all.push(device, GFP_KERNEL)?;
                }
            }
        }
        let mut left = KVec::new();
        for device in all {
            let is_other = |place: &Place| place.device == Some(device) && !scope.covers(place);
            if !self.any(is_other)? {
                left.push(device, GFP_KERNEL)?;
            }
        }
        Ok(left)
    }
}

/// What is in the way of unmounting the file system on one of the devices of a scope. May sleep.
///
/// What is mounted below is no reason if it is exported, too: it was released before, or is a part of the scope, and who
/// unmounts all of that begins there.
pub(crate) fn in_the_way(net: Net<'_>, scope: &Scope, devices: &[Fsid]) -> Result<Option<Text>> {
    if devices.is_empty() {
        return Ok(None);
    }
    let is_wanted = |number| devices.contains(&Fsid::of_device(number));
    let crossmnt = exported::shows_below(net, scope);
    let is_strange =
        |below, own: &PathRef| is_wanted(below) && !crossmnt && !exported::is_root(net, own);
    let user =
        submounts::find(&is_strange).or_else(|| users::find(&|inode| is_wanted(inode.device)));
    user.map(|user| user.describe()).transpose()
}
