// SPDX-License-Identifier: GPL-2.0

//! What bindgen made of `include/nfsd_ha_private.h`, and the symbols of the modules
//! that klp-link makes livepatch symbols of (`include/klp-symbols`).
//!
//! The generated `layout_generated.rs` compares the structures with the BTF of the targeted
//! modules at compile time.

#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unnameable_types,
    improper_ctypes
)]

use kernel::ffi;
use pin_init::{MaybeZeroable, Zeroable};

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

// As in the kernel's own bindings: bindgen does not derive it.
// SAFETY: The type has a field of this other type, and no other.
unsafe impl<Storage: Zeroable> Zeroable for __BindgenBitfieldUnit<Storage> {}

include!(concat!(env!("NFSD_HA_GENERATED"), "/private_generated.rs"));

mod layout {
    include!(concat!(env!("NFSD_HA_GENERATED"), "/layout_generated.rs"));
}

// Unexported symbols of nfsd, lockd, the NFS client, the loop driver and the kernel, and the exported ones of sunrpc: through livepatch, as
// this module loads before them too.
extern "C" {
    pub(crate) fn __state_in_grace(net: *mut net, open: bool) -> bool;
    // What its own does, though it is replaced.
    pub(crate) fn locks_end_grace(manager: *mut lock_manager);

    pub(crate) static nfs_export_ops: export_operations;
    pub(crate) static mut nfs_fs_type: file_system_type;
    pub(crate) static mut nfs4_fs_type: file_system_type;
    pub(crate) fn nfs_put_client(client: *mut nfs_client);
    pub(crate) fn nfs4_get_clid_cred(client: *mut nfs_client) -> *const cred;
    pub(crate) fn nfs4_inode_return_delegation(inode: *mut inode);
    pub(crate) fn nfs4_schedule_lease_recovery(client: *mut nfs_client);
    pub(crate) fn nfs4_schedule_state_manager(client: *mut nfs_client);
    // What the NFS client's own do, though they are replaced.
    pub(crate) fn nfs_fh_to_dentry(
        sb: *mut super_block,
        handle: *mut fid,
        length: ffi::c_int,
        kind: ffi::c_int,
    ) -> *mut dentry;
    pub(crate) fn nfs_get_tree_common(fc: *mut fs_context) -> ffi::c_int;
    pub(crate) fn nfs_kill_super(sb: *mut super_block);
    pub(crate) fn nfs_lock(
        file: *mut file,
        command: ffi::c_int,
        lock: *mut file_lock,
    ) -> ffi::c_int;
    pub(crate) fn _nfs4_do_setlk(
        state: *mut ffi::c_void,
        command: ffi::c_int,
        lock: *mut file_lock,
        recovery: ffi::c_int,
    ) -> ffi::c_int;
    pub(crate) fn nfs41_proc_reclaim_complete(
        client: *mut nfs_client,
        cred: *const cred,
    ) -> ffi::c_int;
    pub(crate) fn nfs4_free_client(client: *mut nfs_client);
    pub(crate) fn nfs4_lock_done(task: *mut rpc_task, data: *mut ffi::c_void);
    pub(crate) fn nfs4_open_done(task: *mut rpc_task, data: *mut ffi::c_void);
    pub(crate) fn nfs4_opendata_alloc(
        dentry: *mut dentry,
        owner: *mut nfs4_state_owner,
        mode: u32,
        flags: ffi::c_int,
        attributes: *const ffi::c_void,
        claim: open_claim_type4,
        gfp: u32,
    ) -> *mut nfs4_opendata;
    pub(crate) fn nfs4_setlease(
        file: *mut file,
        kind: ffi::c_int,
        lease: *mut *mut ffi::c_void,
        private: *mut *mut ffi::c_void,
    ) -> ffi::c_int;
    pub(crate) fn nfs4_xdr_enc_lock(
        request: *mut rpc_rqst,
        xdr: *mut xdr_stream,
        data: *const ffi::c_void,
    );
    pub(crate) fn nfs4_xdr_enc_open(
        request: *mut rpc_rqst,
        xdr: *mut xdr_stream,
        data: *const ffi::c_void,
    );
    pub(crate) fn nfs4_xdr_enc_open_noattr(
        request: *mut rpc_rqst,
        xdr: *mut xdr_stream,
        data: *const ffi::c_void,
    );

    pub(crate) static mut loop_ctl_mutex: mutex;
    pub(crate) static mut loop_index_idr: idr;
    pub(crate) static mut namespace_sem: rw_semaphore;
    pub(crate) static swap_info:
        [*mut swap_info_struct; nfsd_ha_swap_NFSD_HA_MAX_SWAPFILES as usize];

    pub(crate) fn lockd(data: *mut ffi::c_void) -> ffi::c_int;
    pub(crate) static lockd_net_id: ffi::c_uint;
    pub(crate) static mut nlm_blocked: list_head;
    pub(crate) static mut nlm_blocked_lock: spinlock_t;
    pub(crate) static mut nlm_file_mutex: mutex;
    pub(crate) static mut nlm_files: [hlist_head; 128];
    pub(crate) static mut nlm_grace_period: ffi::c_ulong;
    pub(crate) static mut nlm_timeout: ffi::c_ulong;
    pub(crate) static nlmsvc_lock_operations: lock_manager_operations;
    pub(crate) static mut nlmsvc_mutex: mutex;
    pub(crate) static mut nlmsvc_ops: *const nlmsvc_binding;
    pub(crate) fn nlmsvc_lock(
        request: *mut svc_rqst,
        file: *mut nlm_file,
        host: *mut nlm_host,
        lock: *mut lockd_lock,
        wait: ffi::c_int,
        cookie: *mut ffi::c_void,
        reclaim: ffi::c_int,
    ) -> u32;
    pub(crate) fn nlmsvc_put_lockowner(owner: *mut nlm_lockowner);
    pub(crate) fn nlmsvc_release_call(call: *mut nlm_rqst);
    pub(crate) static mut nlmsvc_serv: *mut svc_serv;
    pub(crate) fn nsm_create(net: *mut net, nodename: *const ffi::c_char) -> *mut rpc_clnt;
    pub(crate) static mut nsm_local_state: u32;
    pub(crate) fn nsm_mon_unmon(
        handle: *mut nsm_handle,
        procedure: u32,
        answer: *mut nsm_res,
        host: *const nlm_host,
    ) -> ffi::c_int;
    pub(crate) fn nsm_release(handle: *mut nsm_handle);
    pub(crate) static mut nsm_use_hostnames: bool;

    pub(crate) fn nfsd4_shutdown_copy(client: *mut nfs4_client);
    pub(crate) fn nfsd_file_get(file: *mut nfsd_file) -> *mut nfsd_file;
    pub(crate) fn nfsd_file_put(file: *mut nfsd_file);
    pub(crate) static nfsd_posix_mng_ops: lock_manager_operations;
    pub(crate) fn nfs4_put_stateowner(owner: *mut nfs4_stateowner);
    pub(crate) fn mark_client_expired_locked(client: *mut nfs4_client) -> u32;
    pub(crate) fn nfsd(data: *mut ffi::c_void) -> ffi::c_int;
    pub(crate) static mut nfsd_mutex: mutex;
    pub(crate) fn nfsd_nrpools(net: *mut net) -> ffi::c_int;
    pub(crate) fn nfs4_put_stid(stateid: *mut nfs4_stid);
    pub(crate) static mut expiry_wq: wait_queue_head_t;
    pub(crate) fn revoke_one_stid(
        nn: *mut nfsd_net,
        client: *mut nfs4_client,
        stateid: *mut nfs4_stid,
    );
    pub(crate) fn svc_export_put(count: *mut kref);
    pub(crate) static mut nfsd_fs_type: file_system_type;
    pub(crate) static nfsd_net_id: ffi::c_uint;
    pub(crate) fn nfsd_fill_super(sb: *mut super_block, fc: *mut fs_context) -> ffi::c_int;
    pub(crate) fn nfsd4_client_record_check(client: *mut nfs4_client) -> ffi::c_int;
    pub(crate) fn nfsd4_client_record_create(client: *mut nfs4_client);
    pub(crate) fn nfsd4_force_end_grace(nn: *mut nfsd_net) -> bool;
    // What nfsd's own do, though they are replaced.
    pub(crate) fn client_ctl_write(
        file: *mut file,
        data: *const ffi::c_char,
        size: usize,
        position: *mut loff_t,
    ) -> isize;
    pub(crate) fn __destroy_client(client: *mut nfs4_client);
    pub(crate) fn client_has_state(client: *mut nfs4_client) -> bool;
    pub(crate) fn nfserrno(errno: ffi::c_int) -> u32;
    pub(crate) fn expire_client(client: *mut nfs4_client);
    pub(crate) fn nfs4_state_shutdown_net(net: *mut net);
    pub(crate) static nfsd_lease_mng_ops: lease_manager_operations;
    pub(crate) fn nfsd4_lock(
        request: *mut svc_rqst,
        state: *mut nfsd4_compound_state,
        op: *mut nfsd4_op_nfsd4_op_u,
    ) -> u32;
    pub(crate) fn nfsd4_revoke_export_states(nn: *mut nfsd_net, path: *const path);
    pub(crate) fn nfsd4_revoke_states(nn: *mut nfsd_net, sb: *mut super_block);
    pub(crate) fn nfsd4_exchange_id(
        request: *mut svc_rqst,
        state: *mut nfsd4_compound_state,
        op: *mut nfsd4_op_nfsd4_op_u,
    ) -> u32;
    pub(crate) fn nfsd4_reclaim_complete(
        request: *mut svc_rqst,
        state: *mut nfsd4_compound_state,
        op: *mut nfsd4_op_nfsd4_op_u,
    ) -> u32;
    pub(crate) fn nfsd4_setclientid(
        request: *mut svc_rqst,
        state: *mut nfsd4_compound_state,
        op: *mut nfsd4_op_nfsd4_op_u,
    ) -> u32;
    pub(crate) fn set_client(
        id: *mut clientid_t,
        state: *mut nfsd4_compound_state,
        nn: *mut nfsd_net,
    ) -> u32;
    pub(crate) fn rqst_exp_find(
        request: *mut cache_req,
        net: *mut net,
        client: *mut auth_domain,
        gss_client: *mut auth_domain,
        fsid_type: ffi::c_int,
        fsid: *mut u32,
    ) -> *mut svc_export;
    pub(crate) fn rqst_exp_get_by_name(
        request: *mut svc_rqst,
        path: *const path,
    ) -> *mut svc_export;

    pub(crate) fn rpc_call_sync(
        client: *mut rpc_clnt,
        message: *const rpc_message,
        flags: ffi::c_int,
    ) -> ffi::c_int;
    pub(crate) fn rpc_cancel_tasks(
        client: *mut rpc_clnt,
        error: ffi::c_int,
        is_wanted: Option<unsafe extern "C" fn(*const rpc_task, *const ffi::c_void) -> bool>,
        data: *const ffi::c_void,
    ) -> ffi::c_ulong;
    pub(crate) fn rpc_d_lookup_sb(sb: *const super_block, name: *const ffi::c_uchar)
        -> *mut dentry;
    pub(crate) fn rpc_destroy_pipe_data(pipe: *mut rpc_pipe);
    pub(crate) fn rpc_get_sb_net(net: *const net) -> *mut super_block;
    pub(crate) fn rpc_mkpipe_data(ops: *const rpc_pipe_ops, flags: ffi::c_int) -> *mut rpc_pipe;
    pub(crate) fn rpc_mkpipe_dentry(
        dir: *mut dentry,
        name: *const ffi::c_char,
        private: *mut ffi::c_void,
        pipe: *mut rpc_pipe,
    ) -> ffi::c_int;
    pub(crate) fn rpc_put_sb_net(net: *const net);
    pub(crate) fn rpc_queue_upcall(pipe: *mut rpc_pipe, msg: *mut rpc_pipe_msg) -> ffi::c_int;
    pub(crate) fn rpc_shutdown_client(client: *mut rpc_clnt);
    pub(crate) fn rpc_unlink(pipe: *mut rpc_pipe);
    pub(crate) fn svc_tcp_listen_data_ready(listener: *mut sock);
    pub(crate) fn svc_wake_up(server: *mut svc_serv);
    pub(crate) fn svc_xprt_deferred_close(transport: *mut svc_xprt);
    pub(crate) fn svc_xprt_put(transport: *mut svc_xprt);
    pub(crate) fn unix_domain_find(name: *mut ffi::c_char) -> *mut auth_domain;
    // What sunrpc's own does, though it is replaced.
    pub(crate) fn svcauth_unix_set_client(request: *mut svc_rqst) -> svc_auth_status;
}
