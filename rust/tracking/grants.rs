// SPDX-License-Identifier: GPL-2.0

//! What a request asks to be granted: an open, a lock or a share, which is put on record before if it is the first of its
//! client on its export.

use crate::base::module_ref::ModuleRef;
use crate::base::params;
use crate::base::private;
use crate::base::recent::{Digest, Recent};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::scopes::compound::Handle;
use crate::scopes::exported;
use crate::scopes::exports;
use crate::scopes::place::ExportId;
use crate::scopes::request::{NlmGrant, Request};
use crate::tracking::tracker::Tracker;

/// How long lockd's only thread waits for the daemon, in milliseconds: nobody else gets a lock in this time.
const NLM_PATIENCE: u32 = 5_000;

/// Clients and exports of which there was a hold lately. A client can make digests of its own only, and of exports that
/// it may use.
static LATELY: Recent<4096> = Recent::new();

/// No digest is good any more: a hold may leave.
pub(crate) fn forget() {
    LATELY.forget();
}

/// What nfsd or lockd is told when it asks whether there is a grace period: `is_in_grace`, or that there is one, as what
/// the request asks for cannot be granted yet. May sleep, as long as an upcall may take.
///
/// What is reclaimed is put on record, too. It is refused only in the last moment of the server's grace period, when the daemon
/// may have been told that this is over, as then it may be on record no more: who reclaims does not ask twice.
pub(crate) fn answer(request: &Request<'_>, is_in_grace: bool) -> bool {
    match Grant::of(request) {
        Some(grant) if grant.reclaims == is_in_grace => {
            grant.hold(request, grant.patience()) == is_in_grace
        }
        _ => is_in_grace,
    }
}

/// A client of NLM is about to ask for a lock: has that put on record, while lockd holds no lock. May sleep, five seconds.
pub(crate) fn prepare(request: &Request<'_>) {
    if let Some(grant) = Grant::of(request) {
        grant.hold(request, NLM_PATIENCE);
    }
}

/// What a request asks to be granted.
struct Grant<'a> {
    /// The client, unless it is one of NLM.
    client: Option<&'a Nfs4Client>,
    reclaims: bool,
    is_share: bool,
    lately: Digest,
}

impl<'a> Grant<'a> {
    fn of(request: &'a Request<'_>) -> Option<Self> {
        // What is exported now, and what the handle means.
        let common = [request.net().cookie(), exported::epoch()];
        if let Some(NlmGrant {
            form,
            reclaims,
            is_share,
        }) = request.nlm_grant()
        {
            return Some(Grant {
                client: None,
                reclaims,
                is_share,
                lately: LATELY.digest(Iterator::chain(form.words(), common)),
            });
        }
        let compound = request.compound()?;
        if compound.operation() != private::nfs_opnum4_OP_OPEN {
            return None;
        }
        let export = compound.export(Handle::Current)?;
        // SAFETY: nfsd has found the client of an OPEN before it asks, which is confirmed, has a name, and stays until the
        // request is answered.
        let client = unsafe { Nfs4Client::from_raw(compound.client()?.as_ptr()) };
        let [boot, id] = client.id();
        let id = u64::from(boot) << 32 | u64::from(id);
        let words = Iterator::chain(export.words().into_iter(), common);
        Some(Grant {
            client: Some(client),
            reclaims: compound.reclaims(),
            is_share: false,
            lately: LATELY.digest(Iterator::chain(words, [id])),
        })
    }

    /// How long it waits for its hold, in milliseconds. lockd has a file's `f_mutex` for a lock, which has been prepared.
    fn patience(&self) -> u32 {
        match self.client {
            Some(_) => params::upcall_timeout(),
            None if self.is_share => NLM_PATIENCE,
            None => 0,
        }
    }

    /// Has it put on record. Returns whether it may be granted. May sleep.
    fn hold(&self, request: &Request<'_>, limit: u32) -> bool {
        if LATELY.has(self.lately) {
            return true;
        }
        let Some(_module) = ModuleRef::get() else {
            return true;
        };
        let Some(tracker) = Tracker::in_net(request.net()) else {
            return true;
        };
        let Some(export) = self.export(request) else {
            return tracker.may_be_anywhere() || self.reclaims;
        };
        let (is_held, may_be) = tracker.hold(self.client, &export, limit, self.reclaims);
        if is_held {
            // If it may leave since, nobody will find it.
            LATELY.add(self.lately);
        }
        may_be
    }

    fn export(&self, request: &Request<'_>) -> Option<ExportId> {
        let export = || request.subject()?.files[0].export_id();
        match self.client {
            Some(_) => export(),
            // Of a file of lockd's it may not be known yet.
            None => export().or_else(|| match exports::is_exported(request) {
                true => export(),
                false => None,
            }),
        }
    }
}
