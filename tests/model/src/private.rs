// SPDX-License-Identifier: GPL-2.0

//! As what bindgen makes of nfsd's headers: its structures are the model's.

use kernel::ffi::c_int;

pub(crate) use crate::nfs4::nfs4_client::Nfs4Client as nfs4_client;
/// There is one net namespace, with one server.
pub(crate) use crate::nfs4::nfsd::{NfsdNet as net, NfsdNet as nfsd_net};

#[allow(non_camel_case_types)]
pub(crate) struct nfsd4_client_tracking_ops {
    pub(crate) init: Option<unsafe extern "C" fn(*mut net) -> c_int>,
    pub(crate) exit: Option<unsafe extern "C" fn(*mut net)>,
    pub(crate) create: Option<unsafe extern "C" fn(*mut nfs4_client)>,
    pub(crate) remove: Option<unsafe extern "C" fn(*mut nfs4_client)>,
    pub(crate) check: Option<unsafe extern "C" fn(*mut nfs4_client) -> c_int>,
    pub(crate) grace_done: Option<unsafe extern "C" fn(*mut nfsd_net)>,
    pub(crate) version: u8,
    pub(crate) msglen: usize,
}
