// SPDX-License-Identifier: GPL-2.0

//! The functions that take the place of others where this machine is a re-export server: see `attach.rs`, and `replaced.rs`
//! for what all of them keep to.

use crate::base::private;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::reexport::end_clients;
use crate::reexport::file_systems;
use crate::reexport::holder;
use crate::reexport::nfs_client::NfsClient;
use crate::reexport::originals;
use crate::reexport::owners;
use crate::reexport::requests;
use crate::scopes::request::{Request, Thread};
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ptr::{self, addr_of_mut};
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;

/// Replaces `nfs_get_tree_common()`. On success the superblock has `s_umount` held for writing. May sleep.
///
/// # Safety
///
/// As for the function replaced: `fc` is a mount of the NFS client that is being made.
pub(crate) unsafe extern "C" fn get_tree(fc: *mut private::fs_context) -> c_int {
    // SAFETY: The context is the caller's. On success it has a root.
    unsafe {
        let status = private::nfs_get_tree_common(fc);
        if status == 0 {
            file_systems::mounted((*(*fc).root).d_sb);
        }
        black_box(status)
    }
}

/// Replaces `nfs_kill_super()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: nobody uses the file system any more.
pub(crate) unsafe extern "C" fn kill_super(sb: *mut private::super_block) {
    // SAFETY: It is one of the NFS client's, whose function this is.
    unsafe {
        file_systems::goes(sb);
        private::nfs_kill_super(sb);
    }
    black_box(());
}

/// Replaces `nfs_fh_to_dentry()`, so that livepatch waits for who has our export operations, and is in there. May sleep.
///
/// # Safety
///
/// As for the function replaced.
pub(crate) unsafe extern "C" fn fh_to_dentry(
    sb: *mut private::super_block,
    handle: *mut private::fid,
    length: c_int,
    kind: c_int,
) -> *mut private::dentry {
    // SAFETY: These are the caller's.
    black_box(unsafe { private::nfs_fh_to_dentry(sb, handle, length, kind) })
}

/// How often a delegation is given back before a lock has to be tried again.
const RETURNS: u32 = 3;

/// Replaces `nfs_lock()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the file is open, and of the NFS client.
pub(crate) unsafe extern "C" fn lock(
    file: *mut private::file,
    command: c_int,
    lock: *mut private::file_lock,
) -> c_int {
    // SAFETY: The caller's file is open, and so has an inode, and its lock is there. The current request is being processed.
    unsafe {
        let inode = (*file).f_inode;
        if !file_systems::is_one((*inode).i_sb) {
            return black_box(private::nfs_lock(file, command, lock));
        }
        let sets = command == private::F_SETLK as c_int || command == private::F_SETLKW as c_int;
        if sets && (*lock).c.flc_type == private::F_UNLCK as u8 {
            // Also for who ends what a client had, as no request.
            return black_box(owners::unlock(file, command, lock));
        }
        let Some(request) = Request::current() else {
            return black_box(private::nfs_lock(file, command, lock));
        };
        if !sets {
            return black_box(owners::set(file, command, lock, false));
        }
        // That it reclaims is seen once more when it is sent. The NFS client itself refuses it.
        (*lock).c.flc_flags &= !private::nfsd_ha_lock_NFSD_HA_RECLAIM;
        // What is locked under a delegation, the original server does not know.
        let original = NfsClient::of_file_system((*inode).i_sb);
        let is_delegated = || original.is_some_and(|original| original.has_delegated(inode));
        // Another one may have come meanwhile. Who reclaims by NLM and gets no answer asks again after seconds only.
        let goes_back = |_| {
            private::nfs4_inode_return_delegation(inode);
            !is_delegated()
        };
        let status = match (0..RETURNS).any(goes_back) {
            true => owners::set(file, command, lock, requests::reclaims(&request)),
            false => requests::LATER,
        };
        if status == 0 && is_delegated() {
            // One that has come meanwhile, to a local process that was opening the file before.
            private::nfs4_inode_return_delegation(inode);
        }
        black_box(match request.is_of_lockd() {
            true => requests::of_lockd(&request, status),
            false => status,
        })
    }
}

/// Replaces `nlmsvc_lock()`: a lock that has to be tried again, as the original server is in grace, is answered as in a grace
/// period of ours. So is no reclaim, which clients take for lost then (`nlmclnt_call()`): it gets no answer, and is sent again.
/// May sleep.
///
/// # Safety
///
/// As for the function replaced: the request is the current one, which lockd processes.
pub(crate) unsafe extern "C" fn nlm_lock(
    request: *mut private::svc_rqst,
    file: *mut private::nlm_file,
    host: *mut private::nlm_host,
    lock: *mut private::lockd_lock,
    wait: c_int,
    cookie: *mut c_void,
    reclaim: c_int,
) -> u32 {
    // SAFETY: These are the caller's.
    let status = unsafe { private::nlmsvc_lock(request, file, host, lock, wait, cookie, reclaim) };
    match (requests::is_to_repeat(request), reclaim != 0) {
        (true, true) => private::nfsd_ha_nlm_NFSD_HA_DROP_REPLY,
        (true, false) => private::NLM_LCK_DENIED_GRACE_PERIOD.to_be(),
        (false, _) => black_box(status),
    }
}

/// Replaces `nfs41_proc_reclaim_complete()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the client is valid, and its state is recovered by this thread.
pub(crate) unsafe extern "C" fn proc_reclaim_complete(
    client: *mut private::nfs_client,
    cred: *const private::cred,
) -> c_int {
    // SAFETY: The caller's client is valid.
    unsafe {
        let own = NfsClient::from_raw(client);
        if own.is_some_and(holder::hold) {
            return 0;
        }
        let status = private::nfs41_proc_reclaim_complete(client, cred);
        if let Some(own) = own {
            holder::note_sent(own, status);
        }
        black_box(status)
    }
}

/// Replaces `nfs4_free_client()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: nobody has a reference to the client.
pub(crate) unsafe extern "C" fn free_client(client: *mut private::nfs_client) {
    // SAFETY: It is valid, and the caller's.
    unsafe {
        if let Some(client) = NfsClient::from_raw(client) {
            originals::forget(client.number());
        }
        private::nfs4_free_client(client);
    }
    black_box(());
}

/// `NFS_LOCK_NEW` in fs/nfs/nfs4proc.c: nothing is being recovered.
const LOCK_NEW: c_int = 0;

/// Replaces `_nfs4_do_setlk()`. May sleep.
///
/// What is sent has a copy of the lock, with a reference to its owner that the lock's manager counts, and that nobody gives up: a
/// local process has no manager. So the copy is made of one without.
///
/// # Safety
///
/// As for the function replaced: the lock is the caller's, or one of the inode's that stays.
pub(crate) unsafe extern "C" fn do_setlk(
    state: *mut c_void,
    command: c_int,
    lock: *mut private::file_lock,
    recovery: c_int,
) -> c_int {
    // SAFETY: The lock is there. The function reads what a copy of it has: not the lists that it may be in. The current request
    // is being processed.
    unsafe {
        // One that the inode has already is asked for anew as a delegation goes, for whoever has it.
        let is_new = ptr::eq((*lock).c.flc_list.next, addr_of_mut!((*lock).c.flc_list));
        let marks = match is_new && recovery == LOCK_NEW {
            true => requests::marks_of_lock() as u32,
            false => 0,
        };
        let mut sent = MaybeUninit::<private::file_lock>::uninit();
        let sent = sent.as_mut_ptr();
        ptr::copy_nonoverlapping(lock, sent, 1);
        (*sent).fl_lmops = ptr::null();
        (*sent).c.flc_flags |= marks;
        black_box(private::_nfs4_do_setlk(state, command, sent, recovery))
    }
}

/// The marks of a lock that is sent.
///
/// # Safety
///
/// The arguments are those of a LOCK, which has a copy of the lock.
unsafe fn marks_of(args: *const private::nfs_lock_args) -> c_int {
    // SAFETY: By this function's requirement.
    unsafe { (*(*args).fl).c.flc_flags as c_int & requests::ALL_MARKS }
}

/// Replaces `nfs4_xdr_enc_lock()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the arguments are those of a LOCK.
pub(crate) unsafe extern "C" fn enc_lock(
    request: *mut private::rpc_rqst,
    xdr: *mut private::xdr_stream,
    data: *const c_void,
) {
    let args: *const private::nfs_lock_args = data.cast();
    // SAFETY: These are the caller's.
    unsafe {
        if marks_of(args) & requests::RECLAIMS == 0 {
            private::nfs4_xdr_enc_lock(request, xdr, data);
        } else {
            let mut copy = MaybeUninit::<private::nfs_lock_args>::uninit();
            let copy = copy.as_mut_ptr();
            ptr::copy_nonoverlapping(args, copy, 1);
            (*copy).set_reclaim(1);
            private::nfs4_xdr_enc_lock(request, xdr, copy.cast());
        }
    }
    black_box(());
}

/// Replaces `nfs4_lock_done()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the task is that of a LOCK, and has ended.
pub(crate) unsafe extern "C" fn lock_done(task: *mut private::rpc_task, data: *mut c_void) {
    // The data of a LOCK begins with its arguments (`struct nfs4_lockdata` in fs/nfs/nfs4proc.c).
    let args: *mut private::nfs_lock_args = data.cast();
    // SAFETY: The task's data is that of a LOCK, which has a reference to its file.
    unsafe {
        let marks = marks_of(args);
        if marks != 0 {
            let sb = (*(*(*(*args).fl).c.flc_file).f_inode).i_sb;
            let client = NfsClient::of_file_system(sb).map_or(0, NfsClient::number);
            let status = (*task).tk_status;
            (*task).tk_status = requests::answer(client, (*sb).s_dev, marks, status);
        }
        private::nfs4_lock_done(task, data);
    }
    black_box(());
}

/// Replaces `nfs4_setlease()`: end clients get no delegations. May sleep.
///
/// # Safety
///
/// As for the function replaced: the file is open.
pub(crate) unsafe extern "C" fn setlease(
    file: *mut private::file,
    kind: c_int,
    lease: *mut *mut c_void,
    private: *mut *mut c_void,
) -> c_int {
    if kind != private::F_UNLCK as c_int && Thread::current().is_some() {
        return EAGAIN.to_errno();
    }
    // SAFETY: These are the caller's.
    black_box(unsafe { private::nfs4_setlease(file, kind, lease, private) })
}

/// Replaces `locks_end_grace()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the lock manager is valid.
pub(crate) unsafe extern "C" fn end_grace(manager: *mut private::lock_manager) {
    // SAFETY: It is the caller's.
    unsafe { private::locks_end_grace(manager) };
    holder::grace_ended();
    black_box(());
}

/// Replaces `nfserrno()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced.
pub(crate) unsafe extern "C" fn nfs_error(error: c_int) -> u32 {
    match requests::status_of(error) {
        Some(status) => status.to_be(),
        // SAFETY: It takes any number.
        None => black_box(unsafe { private::nfserrno(error) }),
    }
}

/// Replaces `client_has_state()`. Called under `client_lock`, so it does not sleep.
///
/// # Safety
///
/// As for the function replaced: the client is confirmed, and in its server's table.
pub(crate) unsafe extern "C" fn client_has_state(raw: *mut private::nfs4_client) -> bool {
    // SAFETY: It is valid as long as the lock is held.
    unsafe {
        // nfsd's own worker asks whom it may let go of whose lease has ended.
        if file_systems::any()
            && Thread::current().is_none()
            && end_clients::is_to_go(Nfs4Client::from_raw(raw))
        {
            return false;
        }
        black_box(private::client_has_state(raw))
    }
}
