// SPDX-License-Identifier: GPL-2.0

//! Where the module attaches to nfsd, to the modules that nfsd needs, and to the kernel itself.
//!
//! | function | of | what ours does |
//! |---|---|---|
//! | `nfsd4_client_tracking_init` | nfsd | installs our tracking operations |
//! | `nfsd_fs_get_tree` | nfsd | the same as nfsd's, then adds our files to the mount |
//! | `nfsd4_exchange_id`, `nfsd4_setclientid` | nfsd | the same, with another name for who comes to a floating address |
//! | `nfs4_check_open_reclaim` | nfsd | the same, and lets the clients reclaim that are listed for a scope |
//! | `nfsd4_reclaim_complete` | nfsd | the same, then notes that the client has finished, also one file system |
//! | `set_client` | nfsd | the same, and notes where a client of NFSv4.0 comes from; one that was released is told that its clientid is stale |
//! | `expire_client` | nfsd | the same, but keeps a client that has rebooted until its new self has reclaimed what it had |
//! | `nfsd4_lock` | nfsd | the same, and has the locks of such a client change hands |
//! | `__destroy_client`, `client_ctl_write`, `nfsd4_revoke_states`, `nfsd4_revoke_export_states`, `nfs4_state_shutdown_net` | nfsd | the same, after what clients hold that have rebooted |
//! | `rqst_exp_find`, `rqst_exp_get_by_name` | nfsd | the same, but does not say that an export is missing that is expected |
//! | `svcauth_unix_set_client` | sunrpc | the same, but does not refuse a client for which an export is expected |
//! | `locks_in_grace`, `opens_in_grace` | grace | the same, and asks whether the request's scope is in grace |
//! | `nsm_monitor`, `nsm_unmonitor` | lockd | notes the client, then the same; a work item calls rpc.statd |
//! | `locks_end_grace` | grace | the same, then asks whether original servers may be told that all is reclaimed |
//! | `nfserrno` | nfsd | the same, and knows what original servers refuse |
//! | `client_has_state` | nfsd | the same, but a client that is gone keeps no lock at an original server |
//! | `tcp_conn_request` | the kernel | the same, but refuses a connection to a server address that drains |
//! | `kernel_setlease` | the kernel | the same, but nfsd delegates nothing to who writes that another client has open |
//! | `security_file_lock` | the kernel | the same, then waits where a scope in grace keeps local processes out |

use crate::base::in_force;
use crate::base::klp::{self, Func, Funcs, Object, Objects, Patch, NO_CALLBACKS};
use crate::base::mounted::LoadedNfsd;
use crate::base::params;
use crate::base::private::{klp_callbacks, klp_object};
use crate::base::setup::Setup;
use crate::control::mounts::Mounts;
use crate::drain::{drainer, incoming};
use crate::nfs4::formers;
use crate::nlm::{clients, statd};
use crate::reexport::{file_systems, holder};
use crate::replaced;
use crate::replaced_opens;
use crate::replaced_reexport as reexported;
use crate::replaced_state;
use crate::scopes::in_grace;
use crate::tracking::tracker::Tracker;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;

static PATCH: Patch = Patch::new(&OBJECTS);

static OBJECTS: Objects<6> = Objects::new([
    Object::new(&KERNEL),
    Object::new(&GRACE),
    Object::new(&LOOP),
    Object::new(&LOCKD),
    Object::new(&NFSD),
    Object::new(&SUNRPC),
]);

/// The same on a re-export server.
static REEXPORT_PATCH: Patch = Patch::new(&REEXPORT_OBJECTS);

static REEXPORT_OBJECTS: Objects<8> = Objects::new([
    Object::new(&KERNEL),
    Object::new(&GRACE),
    Object::new(&LOOP),
    Object::new(&REEXPORT_LOCKD),
    Object::new(&NFSD),
    Object::new(&SUNRPC),
    Object::new(&NFS),
    Object::new(&NFSV4),
]);

// SAFETY: The types are those of fs/lockd/mon.c and svclock.c.
static REEXPORT_LOCKD: Funcs<3> = unsafe {
    Funcs::new(
        Some(c"lockd"),
        NO_CALLBACKS,
        [
            Func::new(c"nsm_monitor", replaced::nsm_monitor as *const c_void),
            Func::new(c"nsm_unmonitor", replaced::nsm_unmonitor as *const c_void),
            Func::new(c"nlmsvc_lock", reexported::nlm_lock as *const c_void),
        ],
    )
};

// SAFETY: The types are those of fs/nfs/super.c, export.c and file.c. The callbacks take any object.
static NFS: Funcs<4> = unsafe {
    Funcs::new(
        Some(c"nfs"),
        NFS_CALLBACKS,
        [
            Func::new(
                c"nfs_get_tree_common",
                reexported::get_tree as *const c_void,
            ),
            Func::new(c"nfs_kill_super", reexported::kill_super as *const c_void),
            Func::new(
                c"nfs_fh_to_dentry",
                reexported::fh_to_dentry as *const c_void,
            ),
            Func::new(c"nfs_lock", reexported::lock as *const c_void),
        ],
    )
};

const NFS_CALLBACKS: klp_callbacks = klp_callbacks {
    pre_patch: Some(pre_patch_nfs),
    post_patch: Some(post_patch_nfs),
    pre_unpatch: Some(pre_unpatch_nfs),
    post_unpatch: Some(post_unpatch_nfs),
    ..NO_CALLBACKS
};

// SAFETY: The types are those of fs/nfs/nfs4proc.c, nfs4xdr.c, nfs4file.c and nfs4client.c.
static NFSV4: Funcs<10> = unsafe {
    Funcs::new(
        Some(c"nfsv4"),
        NO_CALLBACKS,
        [
            Func::new(
                c"nfs41_proc_reclaim_complete",
                reexported::proc_reclaim_complete as *const c_void,
            ),
            Func::new(
                c"nfs4_free_client",
                reexported::free_client as *const c_void,
            ),
            Func::new(
                c"nfs4_opendata_alloc",
                replaced_opens::opendata_alloc as *const c_void,
            ),
            Func::new(
                c"nfs4_xdr_enc_open",
                replaced_opens::enc_open as *const c_void,
            ),
            Func::new(
                c"nfs4_xdr_enc_open_noattr",
                replaced_opens::enc_open_noattr as *const c_void,
            ),
            Func::new(
                c"nfs4_open_done",
                replaced_opens::open_done as *const c_void,
            ),
            Func::new(c"_nfs4_do_setlk", reexported::do_setlk as *const c_void),
            Func::new(c"nfs4_xdr_enc_lock", reexported::enc_lock as *const c_void),
            Func::new(c"nfs4_lock_done", reexported::lock_done as *const c_void),
            Func::new(c"nfs4_setlease", reexported::setlease as *const c_void),
        ],
    )
};

// SAFETY: The types are those of fs/locks.c, security/security.c and include/net/tcp.h. The first waits for nothing; while the
// second waits it holds a reference to this module; the third does not sleep. The callback looks at the functions.
static KERNEL: Funcs<3> = unsafe {
    Funcs::new(
        None,
        KERNEL_CALLBACKS,
        [
            Func::new(
                c"kernel_setlease",
                replaced_state::set_lease as *const c_void,
            ),
            Func::new(c"security_file_lock", replaced::file_lock as *const c_void),
            Func::new(c"tcp_conn_request", incoming::conn_request as *const c_void),
        ],
    )
};

const KERNEL_CALLBACKS: klp_callbacks = klp_callbacks {
    pre_patch: Some(check_start),
    ..NO_CALLBACKS
};

static LOOP: Funcs<0> = Funcs::none(c"loop");

// SAFETY: The type is that of net/sunrpc/svcauth_unix.c.
static SUNRPC: Funcs<1> = unsafe {
    Funcs::new(
        Some(c"sunrpc"),
        NO_CALLBACKS,
        [Func::new(
            c"svcauth_unix_set_client",
            replaced::set_client as *const c_void,
        )],
    )
};

// SAFETY: The types are those of fs/nfs_common/grace.c. They sleep only in a request of nfsd or lockd, and with our function
// on the stack.
static GRACE: Funcs<3> = unsafe {
    Funcs::new(
        Some(c"grace"),
        NO_CALLBACKS,
        [
            Func::new(c"locks_in_grace", replaced::locks_in_grace as *const c_void),
            Func::new(c"opens_in_grace", replaced::opens_in_grace as *const c_void),
            Func::new(c"locks_end_grace", reexported::end_grace as *const c_void),
        ],
    )
};

// SAFETY: The types are those of fs/lockd/mon.c.
static LOCKD: Funcs<2> = unsafe {
    Funcs::new(
        Some(c"lockd"),
        NO_CALLBACKS,
        [
            Func::new(c"nsm_monitor", replaced::nsm_monitor as *const c_void),
            Func::new(c"nsm_unmonitor", replaced::nsm_unmonitor as *const c_void),
        ],
    )
};

// SAFETY: The types are those of fs/nfsd/nfs4recover.c, nfsctl.c, nfs4state.c and export.c. The callbacks take any object.
static NFSD: Funcs<18> = unsafe {
    Funcs::new(
        Some(c"nfsd"),
        NFSD_CALLBACKS,
        [
            Func::new(
                c"nfsd4_client_tracking_init",
                replaced::tracking_init as *const c_void,
            ),
            Func::new(c"nfsd_fs_get_tree", replaced::fs_get_tree as *const c_void),
            Func::new(
                c"nfs4_check_open_reclaim",
                replaced::check_open_reclaim as *const c_void,
            ),
            Func::new(
                c"nfsd4_reclaim_complete",
                replaced::reclaim_complete as *const c_void,
            ),
            Func::new(c"nfsd4_exchange_id", replaced::exchange_id as *const c_void),
            Func::new(c"nfsd4_setclientid", replaced::setclientid as *const c_void),
            Func::new(c"set_client", replaced::set_client_by_id as *const c_void),
            Func::new(c"rqst_exp_find", replaced::rqst_exp_find as *const c_void),
            Func::new(
                c"rqst_exp_get_by_name",
                replaced::exp_get_by_name as *const c_void,
            ),
            Func::new(
                c"expire_client",
                replaced_state::expire_client as *const c_void,
            ),
            Func::new(
                c"__destroy_client",
                replaced_state::destroy_client as *const c_void,
            ),
            Func::new(c"nfsd4_lock", replaced_state::lock as *const c_void),
            Func::new(
                c"nfs4_state_shutdown_net",
                replaced_state::state_shutdown_net as *const c_void,
            ),
            Func::new(
                c"client_ctl_write",
                replaced_state::ctl_write as *const c_void,
            ),
            Func::new(
                c"nfsd4_revoke_states",
                replaced_state::revoke_states as *const c_void,
            ),
            Func::new(
                c"nfsd4_revoke_export_states",
                replaced_state::revoke_export_states as *const c_void,
            ),
            Func::new(
                c"client_has_state",
                reexported::client_has_state as *const c_void,
            ),
            Func::new(c"nfserrno", reexported::nfs_error as *const c_void),
        ],
    )
};

const NFSD_CALLBACKS: klp_callbacks = klp_callbacks {
    pre_patch: Some(pre_patch),
    post_patch: Some(post_patch),
    pre_unpatch: Some(pre_unpatch),
    post_unpatch: Some(post_unpatch),
    ..NO_CALLBACKS
};

/// Attaches to nfsd, now or when it is loaded, which ends the module's setup. May sleep.
pub(crate) fn attach(module: &'static ThisModule, setup: Setup) -> Result {
    match params::reexport() {
        false => PATCH.enable(module, setup),
        true => REEXPORT_PATCH.enable(module, setup),
    }
}

/// We are about to be attached to the kernel: calls lead behind the start of its functions.
///
/// # Safety
///
/// For livepatch, with the kernel's object.
unsafe extern "C" fn check_start(object: *mut klp_object) -> c_int {
    let is_as_usual = |at| {
        // SAFETY: The object has as many functions as our list before its end; livepatch has found them, and their
        // code can be read.
        klp::begins_as_usual(unsafe { *(*(*object).funcs.add(at)).old_func.cast::<[u8; 9]>() })
    };
    if (0..KERNEL.len()).all(is_as_usual) {
        return 0;
    }
    pr_err!("a function of this kernel does not begin as those of its modules do\n");
    ENOEXEC.to_errno()
}

/// For livepatch: attaching begins, with nfsd loaded.
extern "C" fn pre_patch(_object: *mut klp_object) -> c_int {
    watch();
    Mounts::expect();
    0
}

/// livepatch says when modules come and go.
fn watch() {
    match params::reexport() {
        false => klp::watch(&OBJECTS),
        true => klp::watch(&REEXPORT_OBJECTS),
    }
}

/// For livepatch: attaching begins, with the NFS client loaded.
extern "C" fn pre_patch_nfs(_object: *mut klp_object) -> c_int {
    watch();
    0
}

/// All threads run our functions in the NFS client.
extern "C" fn post_patch_nfs(_object: *mut klp_object) {
    holder::switched_on();
}

/// For livepatch: they will not, or the NFS client is unloaded, so nothing is mounted.
extern "C" fn pre_unpatch_nfs(_object: *mut klp_object) {
    // SAFETY: The NFS client is still there, whose object this is.
    unsafe { file_systems::switched_off() };
    holder::switched_off();
}

/// We are not attached to the NFS client any more.
extern "C" fn post_unpatch_nfs(_object: *mut klp_object) {
    // Else it is nfsd's object that says so.
    if LoadedNfsd::get().is_none() {
        klp::watch_no_more();
    }
}

/// We are attached: all threads run our functions.
extern "C" fn post_patch(_object: *mut klp_object) {
    in_force::set(true);
    statd::open();
    // There are some if switching off was reversed midway, or nfsd is loaded again.
    in_grace::report_resumed();
    Mounts::update(LoadedNfsd::get(), true);
}

/// For livepatch: we shall be switched off, or nfsd is unloaded. From here on, some threads run nfsd's own functions.
extern "C" fn pre_unpatch(_object: *mut klp_object) {
    in_force::set(false);
    Tracker::switched();
    drainer::switched_off();
    formers::switched_off();
    in_grace::report_ending();
    clients::wake();
    statd::close();
}

/// We are not attached any more.
extern "C" fn post_unpatch(_object: *mut klp_object) {
    statd::end();
    Mounts::update(LoadedNfsd::get(), false);
    // nfsd goes, or may go without a word to us.
    klp::watch_no_more();
}
