// SPDX-License-Identifier: GPL-2.0

//! Where the module attaches to nfsd and to the modules that nfsd needs.
//!
//! | function | of | what ours does |
//! |---|---|---|
//! | `nfsd4_client_tracking_init` | nfsd | installs our tracking operations |
//! | `nfsd_fs_get_tree` | nfsd | the same as nfsd's, then adds our files to the mount |
//! | `nfsd4_exchange_id`, `nfsd4_setclientid` | nfsd | the same, with another name for who comes to a floating address |
//! | `nfs4_check_open_reclaim` | nfsd | the same, and lets the clients reclaim that are listed for a scope |
//! | `nfsd4_reclaim_complete` | nfsd | the same, then notes that the client has finished, also one file system |
//! | `rqst_exp_find` | nfsd | the same, but does not say that an export is missing that is expected |
//! | `locks_in_grace`, `opens_in_grace` | grace | the same, and asks whether the request's scope is in grace |
//! | `nsm_monitor`, `nsm_unmonitor` | lockd | notes the client, then the same |

use crate::base::fsfile::Superblock;
use crate::base::klp::{Func, Object, Patch, NO_CALLBACKS};
use crate::base::module_ref::ModuleRef;
use crate::base::net::{Net, Nfsd};
use crate::base::private::{self, klp_callbacks, klp_object};
use crate::base::setup::Setup;
use crate::control::mounts::Mounts;
use crate::nfs4::floating;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::Changing;
use crate::nfs4::reclaimers::{self, Refusal};
use crate::nlm::host::Host;
use crate::nlm::monitor;
use crate::scopes::exports::{self, ExportRef, Question};
use crate::scopes::in_grace;
use crate::scopes::request::Request;
use crate::tracking::tracker::Tracker;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;

static PATCH: Patch = Patch::new(&OBJECTS);

static OBJECTS: [Object; 5] = [
    Object::new(c"grace", &GRACE, NO_CALLBACKS),
    Object::new(c"lockd", &LOCKD, NO_CALLBACKS),
    Object::new(c"nfsd", &NFSD, NFSD_CALLBACKS),
    // For its symbols.
    Object::new(c"sunrpc", &NOTHING, NO_CALLBACKS),
    Object::end(),
];

static NOTHING: [Func; 1] = [Func::end()];

// SAFETY: The types are those of fs/nfs_common/grace.c. They do not sleep.
static GRACE: [Func; 3] = unsafe {
    [
        Func::new(c"locks_in_grace", locks_in_grace as *const c_void),
        Func::new(c"opens_in_grace", opens_in_grace as *const c_void),
        Func::end(),
    ]
};

// SAFETY: The types are those of fs/lockd/mon.c. While they run they hold a reference to this module.
static LOCKD: [Func; 3] = unsafe {
    [
        Func::new(c"nsm_monitor", nsm_monitor as *const c_void),
        Func::new(c"nsm_unmonitor", nsm_unmonitor as *const c_void),
        Func::end(),
    ]
};

// SAFETY: The types are those of fs/nfsd/nfs4recover.c, nfsctl.c, nfs4state.c and export.c. While they run they
// hold a reference to this module.
static NFSD: [Func; 8] = unsafe {
    [
        Func::new(
            c"nfsd4_client_tracking_init",
            tracking_init as *const c_void,
        ),
        Func::new(c"nfsd_fs_get_tree", fs_get_tree as *const c_void),
        Func::new(
            c"nfs4_check_open_reclaim",
            check_open_reclaim as *const c_void,
        ),
        Func::new(c"nfsd4_reclaim_complete", reclaim_complete as *const c_void),
        Func::new(c"nfsd4_exchange_id", exchange_id as *const c_void),
        Func::new(c"nfsd4_setclientid", setclientid as *const c_void),
        Func::new(c"rqst_exp_find", rqst_exp_find as *const c_void),
        Func::end(),
    ]
};

const NFSD_CALLBACKS: klp_callbacks = klp_callbacks {
    pre_patch: Some(pre_patch),
    post_patch: Some(post_patch),
    post_unpatch: Some(post_unpatch),
    ..NO_CALLBACKS
};

/// Attaches to nfsd, now or when it is loaded, which ends the module's setup. May sleep.
pub(crate) fn attach(module: &'static ThisModule, _: Setup) -> Result {
    // SAFETY: There is one setup, so this is done once, by the module's init. The lists above are static and have
    // their ends.
    unsafe { PATCH.enable(module) }
}

/// Replaces `nfsd4_client_tracking_init()`. Called under `nfsd_mutex`, by who starts a server.
///
/// # Safety
///
/// As for the function replaced: `net` is alive, and `nfsd_mutex` is held.
unsafe extern "C" fn tracking_init(net: *mut private::net) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: This is where nfsd calls it: it starts a server in a namespace that is alive.
    let server = unsafe { Changing::new(Nfsd::new(Net::from_raw(net))) };
    match Tracker::start(&server) {
        Ok(()) => 0,
        Err(e) => {
            pr_warn!(
                "no client tracking until the server is restarted, error {}\n",
                e.to_errno()
            );
            e.to_errno()
        }
    }
}

/// Replaces `nfsd_fs_get_tree()`. On success the new or found superblock has `s_umount` held
/// for writing.
///
/// # Safety
///
/// As for the function replaced: `fc` is a mount of nfsd's file system that is being made.
unsafe extern "C" fn fs_get_tree(fc: *mut private::fs_context) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: The caller's context is valid and ours, and has a live namespace. As in nfsd, the
    // superblock gets a reference to it.
    let result = unsafe {
        let ns = private::get_net_ns(&raw mut (*(*fc).net_ns).ns);
        match kernel::error::from_err_ptr(ns) {
            Ok(_) => to_result(private::get_tree_keyed(
                fc,
                Some(private::nfsd_fill_super),
                (*fc).net_ns.cast(),
            )),
            Err(e) => Err(e),
        }
    };
    if let Err(e) = result {
        return e.to_errno();
    }
    // SAFETY: `get_tree_keyed()` has set the root, and the superblock is locked.
    Mounts::add_files(&unsafe { Superblock::from_raw((*(*fc).root).d_sb) });
    0
}

/// Replaces `rqst_exp_find()`. May sleep.
///
/// # Safety
///
/// As for the function replaced.
unsafe extern "C" fn rqst_exp_find(
    request: *mut private::cache_req,
    net: *mut private::net,
    client: *mut private::auth_domain,
    gss_client: *mut private::auth_domain,
    fsid_type: c_int,
    fsid: *mut u32,
) -> *mut private::svc_export {
    let Some(_module) = ModuleRef::get() else {
        return ETIMEDOUT.to_ptr();
    };
    // SAFETY: This is what nfsd asks, in a namespace that is alive.
    let question = unsafe {
        let nfsd = Nfsd::new(Net::from_raw(net));
        Question::new(request, nfsd, client, gss_client, fsid_type, fsid)
    };
    // SAFETY: nfsd and lockd ask inside of the processing of a request.
    exports::find(question, || unsafe { Request::current() })
        .map_or_else(|e| e.to_ptr(), ExportRef::into_raw)
}

/// Replaces `nfs4_check_open_reclaim()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: a request of this client is being processed.
unsafe extern "C" fn check_open_reclaim(client: *mut private::nfs4_client) -> u32 {
    let Some(_module) = ModuleRef::get() else {
        return private::nfsstat4_NFS4ERR_DELAY.to_be();
    };
    // SAFETY: A client that opens is confirmed, has a name, and stays during its request, which is the current one.
    let (client, request) = unsafe { (Nfs4Client::from_raw(client), Request::current()) };
    match reclaimers::check_open_reclaim(client, request.as_ref()) {
        Ok(()) => 0,
        Err(Refusal::NoGrace) => private::nfsstat4_NFS4ERR_NO_GRACE.to_be(),
        Err(Refusal::ReclaimBad) => private::nfsstat4_NFS4ERR_RECLAIM_BAD.to_be(),
    }
}

/// Replaces `nfsd4_reclaim_complete()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: this is an operation of the compound that is being processed.
unsafe extern "C" fn reclaim_complete(
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    let Some(_module) = ModuleRef::get() else {
        return private::nfsstat4_NFS4ERR_DELAY.to_be();
    };
    // SAFETY: nfsd calls this with the current request, whose argument the decoder has set. The client is that of
    // the compound's session.
    unsafe {
        let status = private::nfsd4_reclaim_complete(request, state, op);
        let client = (*state).clp;
        let already = private::nfsstat4_NFS4ERR_COMPLETE_ALREADY.to_be();
        if let (true, Some(request)) = (
            (status == 0 || status == already) && !client.is_null(),
            Request::current(),
        ) {
            let one_fs = (*op).reclaim_complete.rca_one_fs != 0;
            if reclaimers::complete(Nfs4Client::from_raw(client), &request, one_fs) && one_fs {
                return already;
            }
        }
        status
    }
}

/// Has an operation done under the name of the client that presents this owner in the current request. May sleep.
///
/// # Safety
///
/// An operation of the current request is being processed, and `owner` is what it has decoded.
unsafe fn identify(owner: *mut private::xdr_netobj, operation: impl FnOnce() -> u32) -> u32 {
    let Some(_module) = ModuleRef::get() else {
        return private::nfsstat4_NFS4ERR_DELAY.to_be();
    };
    // SAFETY: The decoder has made it so: `len` bytes, which stay as they are while the request is processed.
    let (own, presented, request) = unsafe {
        let own = *owner;
        let presented = core::slice::from_raw_parts(own.data, own.len as usize);
        (own, presented, Request::current())
    };
    let name = request.map_or(Ok(None), |request| {
        floating::name(request.net().cookie(), presented, request.server())
    });
    match name {
        Ok(None) => operation(),
        Ok(Some(mut name)) => {
            let (len, data) = (name.len() as u32, name.as_mut_ptr());
            // SAFETY: The argument is this operation's, whose thread we are. nfsd copies what it keeps of the name.
            unsafe {
                *owner = private::xdr_netobj { len, data };
                let status = operation();
                *owner = own;
                status
            }
        }
        Err(_) => private::nfsstat4_NFS4ERR_DELAY.to_be(),
    }
}

/// Replaces `nfsd4_exchange_id()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: this is an operation of the compound that is being processed.
unsafe extern "C" fn exchange_id(
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    // SAFETY: nfsd calls this with the current request, whose argument the decoder has set.
    unsafe {
        let owner = &raw mut (*op).exchange_id.clname;
        identify(owner, || private::nfsd4_exchange_id(request, state, op))
    }
}

/// Replaces `nfsd4_setclientid()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: this is an operation of the compound that is being processed.
unsafe extern "C" fn setclientid(
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    // SAFETY: nfsd calls this with the current request, whose argument the decoder has set.
    unsafe {
        let owner = &raw mut (*op).setclientid.se_name;
        identify(owner, || private::nfsd4_setclientid(request, state, op))
    }
}

/// Replaces `locks_in_grace()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: `net` is alive.
unsafe extern "C" fn locks_in_grace(net: *mut private::net) -> bool {
    // SAFETY: The namespace is alive, and this is a function of `grace`. nfsd and lockd ask in a request's procedure.
    unsafe {
        private::__state_in_grace(net, false)
            || in_grace::in_grace(Net::from_raw(net), || Request::current())
    }
}

/// Replaces `opens_in_grace()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: `net` is alive.
unsafe extern "C" fn opens_in_grace(net: *mut private::net) -> bool {
    // SAFETY: As in `locks_in_grace()`.
    unsafe {
        private::__state_in_grace(net, true)
            || in_grace::in_grace(Net::from_raw(net), || Request::current())
    }
}

/// Replaces `nsm_monitor()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the host is valid.
unsafe extern "C" fn nsm_monitor(host: *const private::nlm_host) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: This is where lockd calls it: for its server side while it processes a request.
    let (host, request) = unsafe { (Host::new(host), Request::current()) };
    match monitor::monitor(host, request.as_ref()) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Replaces `nsm_unmonitor()`. Called under `nlm_host_mutex`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the host is valid.
unsafe extern "C" fn nsm_unmonitor(host: *const private::nlm_host) {
    if let Some(_module) = ModuleRef::get() {
        // SAFETY: This is where lockd calls it.
        monitor::unmonitor(unsafe { Host::new(host) });
    }
}

/// Attaching begins, with nfsd loaded.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn pre_patch(_object: *mut klp_object) -> c_int {
    Mounts::expect();
    0
}

/// We are attached.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn post_patch(object: *mut klp_object) {
    // SAFETY: livepatch calls this with nfsd's object while nfsd is there, be it coming or going.
    Mounts::update(unsafe { ModuleRef::get_live((*object).mod_) }, true);
}

/// We are not attached any more.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn post_unpatch(object: *mut klp_object) {
    // SAFETY: livepatch calls this with nfsd's object while nfsd is there, be it coming or going.
    Mounts::update(unsafe { ModuleRef::get_live((*object).mod_) }, false);
}
