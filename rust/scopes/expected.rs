// SPDX-License-Identifier: GPL-2.0

//! What is about to be exported here.
//!
//! An export that moves is known to its clients before it is exported: its address comes first. And where a unit of
//! the distribution starts nfsd, what a cluster manager exports comes some seconds after the server. Until then nfsd
//! says that a handle is stale, upon which an application gets an error or silently loses a lock that it was about
//! to reclaim; a path leads to the directory below the mount point; and a client to which nothing is exported yet is
//! refused as a whole.
//!
//! So while a scope is in grace, or the server itself is because it has clients on record, who asks for what is not
//! there is told to try again. That ends with the grace period, at the latest.

use crate::base::net::Net;
use crate::base::private;
use crate::scopes::exported;
use crate::scopes::in_grace;
use crate::scopes::place::{Form, Place};
use crate::scopes::request::{Request, Thread, NFS_ACL_PROGRAM, NFS_PROGRAM};
use crate::scopes::scope::Fsid;
use crate::scopes::subject::Subject;
use kernel::str::CStr;

/// The domain of clients to which nothing is exported yet. No entry of exports(5) can be called so.
pub(crate) const NO_EXPORTS: &CStr = c"(no exports yet)";

/// The fsid of the root of all exports of NFSv4 (`rqst_find_fsidzero_export()`).
const PSEUDO_ROOT: Fsid = Fsid::Num(0);

/// May the export come that a form of handle leads to? Does not sleep.
pub(crate) fn export(net: Net<'_>, form: &Form, request: &Request<'_>) -> bool {
    let place = exported::place_of_form(net, form, None);
    place.handle == Some(PSEUDO_ROOT) && in_grace::any(net)
        || request.thread().is_in_grace(net, request.is_nfs4())
        || is_in_grace(net, place, request)
}

/// Is what is there in grace, or the address that the request for it came to? Of what has never been exported here
/// the file system is not known: it may be any that is in grace.
fn is_in_grace(net: Net<'_>, place: Place, request: &Request<'_>) -> bool {
    let subject = Subject {
        files: [place, Place::default()],
        server: request.server(),
        reclaim_asks: None,
    };
    // Nor is it known whether it is mounted below one that has not come yet.
    let may_be_below = || !matches!(place.handle, Some(Fsid::Num(_))) && in_grace::any_missing(net);
    in_grace::covers(net, &subject)
        || place.device.is_none() && (in_grace::any_device(net) || may_be_below())
}

/// May a directory come to be exported on which a file system is mounted, so that who walks over it has to wait? Does
/// not sleep.
///
/// If it has never been exported here, its number is not known; then it may be any that is in grace and that nobody has
/// found yet.
pub(crate) fn directory(net: Net<'_>, place: Place, request: &Request<'_>) -> bool {
    // In a list of what is exported, it is left out. Elsewhere, the entry would be the directory below.
    if request.lists_pseudo_root() {
        return false;
    }
    // Who uses an older version does not walk over it anyway, unless the export says so.
    let may_be_unknown = request.is_nfs4() && place.export.is_none();
    is_in_grace(net, place, request)
        || may_be_unknown && (request.thread().is_in_grace(net, true) || in_grace::any_missing(net))
}

/// What to tell a client to which nothing is exported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// That nothing is for it.
    Denied,
    /// What its request is about decides.
    GoOn,
    /// Nothing: it will ask again.
    Nothing,
}

impl Request<'_> {
    /// Is it from a client to which nothing is exported yet? Does not sleep.
    pub(crate) fn is_without_exports(&self) -> bool {
        self.domain()
            .is_some_and(|domain| domain.name() == NO_EXPORTS)
    }
}

/// What is told a client to which nothing is exported, when it asks the current thread for a version of an RPC program?
/// Does not sleep.
pub(crate) fn client(thread: &Thread, net: Net<'_>, program: u32, version: u32) -> Answer {
    let answer = match program {
        NFS_PROGRAM | NFS_ACL_PROGRAM => Answer::GoOn,
        // It has no word for it, and lockd would have the client monitored.
        private::NLM_PROGRAM => Answer::Nothing,
        _ => return Answer::Denied,
    };
    let nfs4 = program == NFS_PROGRAM && version == 4;
    if thread.is_in_grace(net, nfs4) || in_grace::any(net) {
        answer
    } else {
        Answer::Denied
    }
}
