// SPDX-License-Identifier: GPL-2.0

//! The functions that take the place of others where a re-export server opens something of an original server: see `attach.rs`,
//! and `replaced.rs` for what all of them keep to.

use crate::base::private;
use crate::reexport::nfs_client::NfsClient;
use crate::reexport::requests::{self, Plan};
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ptr::{self, addr_of_mut};
use kernel::ffi::{c_int, c_void};

/// Replaces `nfs4_opendata_alloc()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the entry and the owner are valid, and of the same mount.
pub(crate) unsafe extern "C" fn opendata_alloc(
    dentry: *mut private::dentry,
    owner: *mut private::nfs4_state_owner,
    mode: u32,
    flags: c_int,
    attributes: *const c_void,
    claim: private::open_claim_type4,
    gfp: u32,
) -> *mut private::nfs4_opendata {
    let by_handle = claim == private::open_claim_type4_NFS4_OPEN_CLAIM_FH;
    let is_new = by_handle || claim == private::open_claim_type4_NFS4_OPEN_CLAIM_NULL;
    // SAFETY: The owner has its mount, and that its client. What is allocated is the caller's. The current request is being
    // processed.
    unsafe {
        let client = NfsClient::of_server((*owner).so_server);
        let Some(client) = client.filter(|client| is_new && client.has_sessions()) else {
            return black_box(private::nfs4_opendata_alloc(
                dentry, owner, mode, flags, attributes, claim, gfp,
            ));
        };
        let Plan::Go { marks, undelegated } = requests::plan(client, by_handle) else {
            return ptr::null_mut();
        };
        let data = private::nfs4_opendata_alloc(dentry, owner, mode, flags, attributes, claim, gfp);
        if data.is_null() {
            return data;
        }
        let args = addr_of_mut!((*data).o_arg);
        if undelegated {
            (*args).share_access &= !WANTS;
            (*args).share_access |= private::NFS4_SHARE_WANT_NO_DELEG;
        }
        let creates = flags & private::O_CREAT as c_int != 0;
        if (*args).claim == private::open_claim_type4_NFS4_OPEN_CLAIM_FH && !creates {
            (*args).open_flags |= marks;
        } else {
            (*args).open_flags |= marks & requests::OF_SERVER;
        }
        black_box(data)
    }
}

/// What an OPEN may say of delegations.
const WANTS: u32 = private::NFS4_SHARE_WANT_TYPE_MASK | private::NFS4_SHARE_WANT_MOD_MASK;

/// Calls `encode` with the arguments of an OPEN, or if it is to be a reclaim, with a copy that says so: all else in the NFS
/// client goes on thinking that it names a file by its handle. Does not sleep.
///
/// # Safety
///
/// The arguments are those of an OPEN that is being encoded.
unsafe fn with_claim(data: *const c_void, encode: impl FnOnce(*const c_void)) {
    let args: *const private::nfs_openargs = data.cast();
    // SAFETY: By this function's requirement.
    unsafe {
        if (*args).open_flags & (requests::RECLAIMS | requests::TRIES) == 0 {
            return encode(data);
        }
        let mut copy = MaybeUninit::<private::nfs_openargs>::uninit();
        let copy = copy.as_mut_ptr();
        ptr::copy_nonoverlapping(args, copy, 1);
        (*copy).claim = private::open_claim_type4_NFS4_OPEN_CLAIM_PREVIOUS;
        // No delegation.
        (*copy).u.delegation_type = 0;
        encode(copy.cast());
    }
}

/// Replaces `nfs4_xdr_enc_open()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the arguments are those of an OPEN.
pub(crate) unsafe extern "C" fn enc_open(
    request: *mut private::rpc_rqst,
    xdr: *mut private::xdr_stream,
    data: *const c_void,
) {
    // SAFETY: These are the caller's.
    unsafe { with_claim(data, |data| private::nfs4_xdr_enc_open(request, xdr, data)) };
    black_box(());
}

/// Replaces `nfs4_xdr_enc_open_noattr()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the arguments are those of an OPEN.
pub(crate) unsafe extern "C" fn enc_open_noattr(
    request: *mut private::rpc_rqst,
    xdr: *mut private::xdr_stream,
    data: *const c_void,
) {
    // SAFETY: These are the caller's.
    unsafe {
        with_claim(data, |data| {
            private::nfs4_xdr_enc_open_noattr(request, xdr, data)
        })
    };
    black_box(());
}

/// Replaces `nfs4_open_done()`. Does not sleep.
///
/// # Safety
///
/// As for the function replaced: the task is that of an OPEN, and has ended.
pub(crate) unsafe extern "C" fn open_done(task: *mut private::rpc_task, data: *mut c_void) {
    let open: *mut private::nfs4_opendata = data.cast();
    // SAFETY: The task's data is that of an OPEN, which has its mount.
    unsafe {
        let marks = (*open).o_arg.open_flags & requests::ALL_MARKS;
        if marks != 0 {
            let server = (*open).o_arg.server;
            let client = NfsClient::of_server(server).map_or(0, NfsClient::number);
            let status = (*task).tk_status;
            (*task).tk_status = requests::answer(client, (*server).s_dev, marks, status);
        }
        private::nfs4_open_done(task, data);
    }
    black_box(());
}
