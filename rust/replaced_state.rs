// SPDX-License-Identifier: GPL-2.0

//! The functions that take the place of others for clients that have rebooted: see `attach.rs`, and `replaced.rs` for what all
//! of them keep to.

use crate::base::module_ref::ModuleRef;
use crate::base::net::Net;
use crate::base::private;
use crate::nfs4::delegations;
use crate::nfs4::formers;
use crate::nfs4::handover;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::reexport::file_systems;
use crate::scopes::compound::Mark;
use crate::scopes::request::Request;
use core::hint::black_box;
use core::ptr;
use kernel::ffi::{c_char, c_int, c_void};
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};

/// What a write to a client's `ctl` says to have it expired (`client_ctl_write()`).
const EXPIRE: &[u8] = b"expire\n";

/// Replaces `expire_client()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the client is in no table of its server, and the caller's to free.
pub(crate) unsafe extern "C" fn expire_client(raw: *mut private::nfs4_client) {
    let module = ModuleRef::get();
    // SAFETY: A client has a name; it is the caller's. The request is the current one.
    let (client, request) = unsafe { (Nfs4Client::from_raw(raw), Request::current()) };
    let compound = request.as_ref().and_then(Request::compound);
    let operation = compound.map(|compound| compound.operation());
    if module.is_some() && operation == Some(private::nfs_opnum4_OP_CREATE_SESSION) {
        let selves = formers::selves();
        // SAFETY: This is where CREATE_SESSION frees the old client of a new one, and all else is as the caller has it.
        if selves.is_ok_and(|selves| unsafe { selves.keep(client) }) {
            return;
        }
    }
    // SAFETY: The client is the caller's to free.
    unsafe { private::expire_client(raw) };
}

/// Replaces `__destroy_client()`, which nfsd calls directly in some places, or `expire_client()`, which compilers may have put
/// into its callers. May sleep.
///
/// # Safety
///
/// As for the function replaced: the client is in no table of its server, and the caller's to free.
pub(crate) unsafe extern "C" fn destroy_client(raw: *mut private::nfs4_client) {
    let _module = ModuleRef::get();
    if formers::any() {
        // SAFETY: A client has a name; it is the caller's. The request is the current one.
        let (client, request) = unsafe { (Nfs4Client::from_raw(raw), Request::current()) };
        let compound = request.as_ref().and_then(Request::compound);
        // Its former selves, which end now, have other numbers.
        if client.is_confirmed() && compound.and_then(|one| one.destroys()) == Some(client.id()) {
            formers::complete(client);
        }
        formers::goes(client);
    }
    // SAFETY: The client is the caller's to free.
    unsafe { private::__destroy_client(raw) };
}

/// Replaces `nfsd4_lock()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: this is an operation of the compound that is being processed.
pub(crate) unsafe extern "C" fn lock(
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    // SAFETY: The client is that of the compound's session, and stays during the request; with NFSv4.0 it is not known yet. So
    // does what the current handle leads to, if there is one.
    let client = unsafe {
        let raw = (*state).clp;
        let export = (*state).current_fh.fh_export;
        // What changes hands here would not do so at an original server.
        let is_own = || export.is_null() || !file_systems::is_one((*(*export).ex_path.dentry).d_sb);
        (formers::any() && !raw.is_null() && is_own()).then(|| Nfs4Client::from_raw(raw))
    };
    if let Some(client) = client.filter(|client| formers::may_have(client)) {
        // SAFETY: These are the caller's.
        return black_box(unsafe { lock_after_reboot(client, request, state, op) });
    }
    // SAFETY: As above.
    black_box(unsafe { private::nfsd4_lock(request, state, op) })
}

/// The same, of a client that may have former selves.
///
/// # Safety
///
/// As for [`lock`], and the client is the compound's.
#[inline(never)]
unsafe fn lock_after_reboot(
    client: &Nfs4Client,
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    let delay = private::nfsstat4_NFS4ERR_DELAY.to_be();
    let Some(_module) = ModuleRef::get() else {
        return delay;
    };
    if handover::begin().is_err() {
        return delay;
    }
    // SAFETY: nfsd calls this with the current request, whose argument the decoder has set.
    unsafe {
        let status = private::nfsd4_lock(request, state, op);
        handover::settle(client, status == 0);
        if status != private::nfsstat4_NFS4ERR_NO_GRACE.to_be() {
            return status;
        }
        match (*op).lock.lk_reclaim {
            mark if mark == Mark::NotHad as u32 => private::nfsstat4_NFS4ERR_RECLAIM_BAD.to_be(),
            mark if mark == Mark::NotNow as u32 => delay,
            _ => status,
        }
    }
}

/// Replaces `nfs4_state_shutdown_net()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: `net` is alive, `nfsd_mutex` is held, and no thread of nfsd runs there.
pub(crate) unsafe extern "C" fn state_shutdown_net(net: *mut private::net) {
    let _module = ModuleRef::get();
    // SAFETY: The namespace is alive.
    unsafe {
        formers::server_stops(Net::from_raw(net));
        private::nfs4_state_shutdown_net(net);
    }
}

/// Replaces `client_ctl_write()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: a system call writes to a file of a client, which is open.
pub(crate) unsafe extern "C" fn ctl_write(
    file: *mut private::file,
    data: *const c_char,
    size: usize,
    position: *mut private::loff_t,
) -> isize {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno() as isize;
    };
    // SAFETY: The file is open. Its inode knows the client that it is of, to be compared. The system call's data is the
    // user's, to be copied.
    unsafe {
        let of = (&raw const (*(*file).f_inode).i_private).read_volatile();
        if formers::any() && size == EXPIRE.len() && is_expire(data) {
            // nfsd would wait until it has gone by itself.
            if formers::expire(of) {
                return size as isize;
            }
        }
        private::client_ctl_write(file, data, size, position)
    }
}

/// Does a user's data say that a client is to be expired? It is as long as that. May sleep.
fn is_expire(data: *const c_char) -> bool {
    let mut said = [0; EXPIRE.len()];
    let data = UserPtr::from_ptr(data.cast_mut().cast());
    let read = UserSlice::new(data, said.len())
        .reader()
        .read_slice(&mut said);
    read.is_ok() && said == *EXPIRE
}

/// Replaces `nfsd4_revoke_states()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: `nfsd_mutex` is held, and the file system is there.
pub(crate) unsafe extern "C" fn revoke_states(
    nn: *mut private::nfsd_net,
    sb: *mut private::super_block,
) {
    let _module = ModuleRef::get();
    formers::revoke(nn, |stateid| core::ptr::eq(stateid.file_system(), sb));
    // SAFETY: These are the caller's.
    unsafe { private::nfsd4_revoke_states(nn, sb) };
}

/// Replaces `nfsd4_revoke_export_states()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: `nfsd_mutex` is held, and the path is valid.
pub(crate) unsafe extern "C" fn revoke_export_states(
    nn: *mut private::nfsd_net,
    path: *const private::path,
) {
    let _module = ModuleRef::get();
    // SAFETY: These are the caller's.
    unsafe {
        formers::revoke(nn, |stateid| stateid.is_through(&*path));
        private::nfsd4_revoke_export_states(nn, path);
    }
}

/// Replaces `kernel_setlease()`: nfsd delegates no file to a client that writes while another client has it open. May sleep.
///
/// # Safety
///
/// As for the function replaced: the file is open, and the lease, if there is one, the caller's.
pub(crate) unsafe extern "C" fn set_lease(
    file: *mut private::file,
    kind: c_int,
    lease: *mut *mut private::file_lease,
    private: *mut *mut c_void,
) -> c_int {
    // SAFETY: These are the caller's.
    black_box(unsafe {
        match delegation(lease) {
            None => private::kernel_setlease(file, kind, lease, private),
            Some(stateid) => set_delegation(file, kind, lease, private, stateid),
        }
    })
}

/// The delegation of a file that nfsd is about to grant with a lease, unless it is reclaimed: that was there before others had the
/// file open.
///
/// # Safety
///
/// As for [`set_lease`].
unsafe fn delegation(lease: *mut *mut private::file_lease) -> Option<*mut private::nfs4_stid> {
    if lease.is_null() {
        return None;
    }
    // SAFETY: By this function's requirement. nfsd is loaded, as this is one of its threads, and calls this in the midst of an
    // operation. A lease of its operations is owned by a delegation, which begins with its stateid (`struct nfs4_delegation`).
    unsafe {
        let request = Request::current()?;
        let compound = request.compound()?;
        let theirs = &raw const private::nfsd_lease_mng_ops;
        let is_one = ptr::eq((**lease).fl_lmops, theirs);
        (is_one && !compound.reclaims()).then(|| (**lease).c.flc_owner.cast())
    }
}

/// Sets the lease of a delegation. Fails with `EAGAIN` if another client has the file open, and this one writes.
///
/// # Safety
///
/// As for [`set_lease`], and the stateid is that of the delegation.
unsafe fn set_delegation(
    file: *mut private::file,
    kind: c_int,
    lease: *mut *mut private::file_lease,
    private: *mut *mut c_void,
    stateid: *mut private::nfs4_stid,
) -> c_int {
    let writes = kind == private::F_WRLCK as c_int;
    // SAFETY: These are the caller's. As a lease is taken back, its owner says which it is.
    unsafe {
        if delegations::is_shared(stateid, writes) {
            return EAGAIN.to_errno();
        }
        let status = private::kernel_setlease(file, kind, lease, private);
        if status != 0 || !delegations::is_shared(stateid, writes) {
            return status;
        }
        // Who has opened it meanwhile came before the lease, which its open would have broken.
        let mut owner: *mut c_void = stateid.cast();
        let none = ptr::null_mut();
        private::kernel_setlease(file, private::F_UNLCK as c_int, none, &raw mut owner);
        EAGAIN.to_errno()
    }
}
