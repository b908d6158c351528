// SPDX-License-Identifier: GPL-2.0

//! The servers of which it is known on which exports somebody held something: the others are exempt from their grace periods.
//!
//! Lock order: [`EXEMPT`] is taken alone; nothing is taken under it.

use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::setup::Setup;
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::request::Request;
use crate::scopes::was_held::{self, WasHeld};
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};
use kernel::sync::{new_spinlock, SpinLock};

/// By the cookies of their net namespaces.
static EXEMPT: Global<SpinLock<RBTree<u64, WasHeld>>> = Global::new();

/// Prepares this file.
pub(crate) fn init_module(setup: &Setup) {
    EXEMPT.init(setup, new_spinlock!(RBTree::new(), "nfsd_ha::EXEMPT"));
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let all = core::mem::take(&mut *EXEMPT.lock());
    drop(all);
}

/// In a namespace, the server's grace period is for these exports from now on. Fails with `ENOMEM`. May sleep.
pub(crate) fn begin(net: u64, held: WasHeld) -> Result {
    let node = RBTreeNode::new(net, held, GFP_KERNEL)?;
    let old = {
        let mut all = EXEMPT.lock();
        let old = all.insert(node);
        in_grace::ask_for(Reason::Exempt, true);
        old
    };
    drop(old);
    Ok(())
}

/// It is for all of them again. May sleep.
pub(crate) fn end(net: u64) {
    let old = {
        let mut all = EXEMPT.lock();
        let old = all.remove_node(&net);
        in_grace::ask_for(Reason::Exempt, !all.is_empty());
        old
    };
    drop(old);
}

/// Is a request exempt from the server's grace period, as nobody held anything where it goes? nfsd's is for clients of
/// NFSv4, lockd's for those of NLM, and nobody opens in the way of these. Who wants to reclaim there is told that there is no
/// grace period, as others may have held since what it held (RFC 8881, 8.4.3): so it was while no daemon knew. Does
/// not sleep.
pub(crate) fn is_exempt<'a>(
    net: Net<'_>,
    opens: bool,
    request: impl FnOnce() -> Option<Request<'a>>,
) -> bool {
    if !in_grace::has_reason(Reason::Exempt) {
        return false;
    }
    let Some(request) = request() else {
        return false;
    };
    let Some(subject) = request.subject() else {
        return false;
    };
    let of_nfs4 = opens || request.thread().is_in_grace(net, true);
    let kinds = match (of_nfs4, opens) {
        (true, true) => was_held::NFS4,
        (true, false) => was_held::NFS4 | was_held::NLM,
        (false, _) => was_held::NLM,
    };
    let all = EXEMPT.lock();
    all.get(&net.cookie())
        .is_some_and(|held| held.exempts(&subject, kinds))
}
