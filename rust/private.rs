// SPDX-License-Identifier: GPL-2.0

//! What bindgen made of `include/nfsd_ha_private.h`, and the symbols of nfsd and sunrpc that
//! klp-link makes livepatch symbols of (`include/klp-symbols`).
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

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

include!(concat!(env!("NFSD_HA_GENERATED"), "/private_generated.rs"));

mod layout {
    include!(concat!(env!("NFSD_HA_GENERATED"), "/layout_generated.rs"));
}

// Unexported symbols of nfsd, and the exported ones of sunrpc: through livepatch, as this
// module loads before them too.
extern "C" {
    pub(crate) static mut nfsd_fs_type: file_system_type;
    pub(crate) static nfsd_net_id: ffi::c_uint;
    pub(crate) fn nfsd_fill_super(sb: *mut super_block, fc: *mut fs_context) -> ffi::c_int;
    pub(crate) fn nfsd4_force_end_grace(nn: *mut nfsd_net) -> bool;

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
    pub(crate) fn rpc_unlink(pipe: *mut rpc_pipe);
}
