// SPDX-License-Identifier: GPL-2.0

//! The functions that take the place of others. See `attach.rs` for the list.
//!
//! They may sleep: as long as a task has one of them on its stack, livepatch does not end a transition to the functions that
//! they replace, and the module cannot be unloaded before that. Those that are called for most requests rely on it; the
//! others also hold a reference to the module. So none may end in a jump to another function of the module, which a
//! compiler likes to make of a last call: `scripts/build/no-tail-calls` looks for that.

use crate::base::former_param;
use crate::base::fsfile::Superblock;
use crate::base::module_ref::ModuleRef;
use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::vfs::Path;
use crate::control::mounts::Mounts;
use crate::control::recount::Recount;
use crate::drain::incoming;
use crate::nfs4::clientids;
use crate::nfs4::floating;
use crate::nfs4::formers;
use crate::nfs4::handover;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::Changing;
use crate::nfs4::reclaimers::{self, Refusal};
use crate::nlm::host::Host;
use crate::nlm::monitor;
use crate::reexport::requests;
use crate::scopes::exempt;
use crate::scopes::expected::{self, Answer};
use crate::scopes::exported;
use crate::scopes::exports::{self, Question};
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::local;
use crate::scopes::received::Received;
use crate::scopes::request::{Request, Thread};
use crate::scopes::scope::Fsid;
use crate::scopes::svc_export::ExportRef;
use crate::tracking::grants;
use crate::tracking::tracker::Tracker;
use core::hint::black_box;
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::ffi::{c_int, c_uint};
use kernel::prelude::*;

/// Replaces `nfsd4_client_tracking_init()`. Called under `nfsd_mutex`, by who starts a server.
///
/// # Safety
///
/// As for the function replaced: `net` is alive, and `nfsd_mutex` is held.
pub(crate) unsafe extern "C" fn tracking_init(net: *mut private::net) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: This is where nfsd calls it: it starts a server in a namespace that is alive.
    let server = unsafe { Changing::new(Nfsd::new(Net::from_raw(net))) };
    // What an earlier server had, which ended without telling us.
    exported::forget(server.net());
    clientids::forget(server.net());
    floating::server_starts(server.net());
    Recount::wake(server.net());
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
pub(crate) unsafe extern "C" fn fs_get_tree(fc: *mut private::fs_context) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: The caller's context is valid and ours, and has a live namespace. As in nfsd, the
    // superblock gets a reference to it. `get_tree_keyed()` sets the root, and locks the superblock.
    let sb = unsafe {
        let net = (*fc).net_ns;
        from_err_ptr(private::get_net_ns(&raw mut (*net).ns))
            .and_then(|_| {
                to_result(private::get_tree_keyed(
                    fc,
                    Some(private::nfsd_fill_super),
                    net.cast(),
                ))
            })
            .map(|()| Superblock::from_raw((*(*fc).root).d_sb))
    };
    match sb {
        Ok(sb) => {
            Mounts::add_files(&sb);
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// Replaces `rqst_exp_find()`. May sleep.
///
/// # Safety
///
/// As for the function replaced.
pub(crate) unsafe extern "C" fn rqst_exp_find(
    request: *mut private::cache_req,
    net: *mut private::net,
    client: *mut private::auth_domain,
    gss_client: *mut private::auth_domain,
    fsid_type: c_int,
    fsid: *mut u32,
) -> *mut private::svc_export {
    // SAFETY: This is what nfsd asks, in a namespace that is alive. nfsd and lockd ask inside of the processing of a
    // request.
    let found = unsafe {
        let nfsd = Nfsd::new(Net::from_raw(net));
        let question = Question::new(request, nfsd, client, gss_client, fsid_type, fsid);
        exports::find(question, || Request::current())
    };
    found.map_or_else(|e| e.to_ptr(), ExportRef::into_raw)
}

/// Replaces `rqst_exp_get_by_name()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the request is the current one, and the path is valid.
pub(crate) unsafe extern "C" fn exp_get_by_name(
    request: *mut private::svc_rqst,
    path: *const private::path,
) -> *mut private::svc_export {
    // SAFETY: nfsd asks inside of the processing of its request, and for the path of a directory, to which it has
    // references.
    unsafe {
        let found = private::rqst_exp_get_by_name(request, path);
        match (from_err_ptr(found), Request::current()) {
            (Err(e), Some(request)) if e == ENOENT => {
                let net = request.net();
                let place = exported::place_of_mount(net, Path::from_raw(*path));
                if place.is_some_and(|place| expected::directory(net, place, &request)) {
                    return ETIMEDOUT.to_ptr();
                }
            }
            _ => (),
        }
        found
    }
}

/// Replaces `svcauth_unix_set_client()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the request is the current thread's, which has just received it.
pub(crate) unsafe extern "C" fn set_client(
    request: *mut private::svc_rqst,
) -> private::svc_auth_status {
    // SAFETY: The request is the current one, with a transport, which has a reference to its namespace.
    unsafe {
        let received = Received::from_raw(NonNull::new_unchecked(request));
        if incoming::is_dropped(&received) {
            return private::svc_auth_status_SVC_DROP;
        }
        match private::svcauth_unix_set_client(request) {
            private::svc_auth_status_SVC_DENIED => denied(&received),
            status => status,
        }
    }
}

/// What becomes of a request of a client that sunrpc denies: it has none. May sleep.
///
/// A function of its own, as each request comes by the one above.
#[inline(never)]
fn denied(received: &Received<'_>) -> private::svc_auth_status {
    let Some(thread) = Thread::current() else {
        return private::svc_auth_status_SVC_DENIED;
    };
    let (program, version) = (received.program(), received.version());
    match expected::client(&thread, received.net(), program, version) {
        Answer::Denied => private::svc_auth_status_SVC_DENIED,
        Answer::GoOn => {
            let name = expected::NO_EXPORTS.as_char_ptr().cast_mut();
            let request = received.as_ptr();
            // SAFETY: A name is looked for. The request is the current one, which has no client yet, and is given a
            // reference to one, as sunrpc gives it one.
            unsafe {
                let domain = private::unix_domain_find(name);
                if domain.is_null() {
                    return private::svc_auth_status_SVC_DROP;
                }
                (*request).rq_client = domain;
                (*request).rq_auth_stat = private::rpc_auth_stat_RPC_AUTH_OK.to_be();
            }
            private::svc_auth_status_SVC_OK
        }
        Answer::Nothing => private::svc_auth_status_SVC_DROP,
    }
}

/// Replaces `nfs4_check_open_reclaim()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: a request of this client is being processed.
pub(crate) unsafe extern "C" fn check_open_reclaim(client: *mut private::nfs4_client) -> u32 {
    let Some(_module) = ModuleRef::get() else {
        return private::nfsstat4_NFS4ERR_DELAY.to_be();
    };
    // SAFETY: A client that opens is confirmed, has a name, and stays during its request, which is the current one.
    let (client, request) = unsafe { (Nfs4Client::from_raw(client), Request::current()) };
    let compound = request.as_ref().and_then(Request::compound);
    // NFSv4.0 cannot say that it wants none.
    if let Some(compound) = compound.filter(|_| client.minor_version() > 0) {
        compound.wants_no_new_delegation();
    }
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
pub(crate) unsafe extern "C" fn reclaim_complete(
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
        let client = (*state).clp;
        if formers::any() && (*op).reclaim_complete.rca_one_fs == 0 && !client.is_null() {
            // Before nfsd notes it: a LOCK that is on its way knows of them as long as it has not.
            formers::complete(Nfs4Client::from_raw(client));
        }
        let status = private::nfsd4_reclaim_complete(request, state, op);
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
    let Some(request) = request else {
        return operation();
    };
    // Anybody can come so far. Who reclaims can do so when there is an export for him, not earlier.
    if request.is_without_exports() {
        return private::nfsstat4_NFS4ERR_DELAY.to_be();
    }
    match floating::name(request.net().cookie(), presented, request.server()) {
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
pub(crate) unsafe extern "C" fn exchange_id(
    request: *mut private::svc_rqst,
    state: *mut private::nfsd4_compound_state,
    op: *mut private::nfsd4_op_nfsd4_op_u,
) -> u32 {
    // SAFETY: nfsd calls this with the current request, whose argument the decoder has set.
    unsafe {
        let args = &raw mut (*op).exchange_id;
        let owner = &raw mut (*args).clname;
        let status = identify(owner, || private::nfsd4_exchange_id(request, state, op));
        let received = NonNull::new(request).map(|request| Received::from_raw(request));
        let client = received.and_then(|received| received.client());
        if status == 0 && former_param::is_for(client) {
            say_who(args);
        }
        status
    }
}

/// Adds to the name that the server gives itself that it keeps former selves (RFC 8881, 3.3.21: for whoever looks for a
/// fault, not for clients to go by). May sleep; without memory, it says nothing.
///
/// # Safety
///
/// `args` are those of an EXCHANGE_ID that has succeeded, and is not encoded yet.
unsafe fn say_who(args: *mut private::nfsd4_exchange_id) {
    // SAFETY: nfsd has made the name, and put it into the answer, as long as it says. It is freed with the operation, and so is
    // what takes its place.
    unsafe {
        let own = (*args).nii_name;
        if own.data.cast() != (*args).server_impl_name {
            return;
        }
        let own = core::slice::from_raw_parts(own.data, own.len as usize);
        if own.len() + SAYS.len() > private::NFS4_OPAQUE_LIMIT as usize {
            return;
        }
        let mut name = KVec::new();
        let is_made = name.extend_from_slice(own, GFP_KERNEL).is_ok()
            && name.extend_from_slice(SAYS, GFP_KERNEL).is_ok();
        if is_made {
            let (data, len, _) = name.into_raw_parts();
            (*args).nii_name = private::xdr_netobj {
                len: len as u32,
                data,
            };
            kernel::bindings::kfree((*args).server_impl_name.cast());
            (*args).server_impl_name = data.cast();
        }
    }
}

/// What [`say_who`] adds, as `nfsd-ha check` of a re-export server reads it.
const SAYS: &[u8] = b" nfsd_ha former_selves";

/// Replaces `nfsd4_setclientid()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: this is an operation of the compound that is being processed.
pub(crate) unsafe extern "C" fn setclientid(
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

/// Replaces `set_client()` of nfsd, which finds the client of a clientid that NFSv4.0 has in its requests. May sleep.
///
/// # Safety
///
/// As for the function replaced: a request is being processed, and this is its compound's state and its server's.
pub(crate) unsafe extern "C" fn set_client_by_id(
    id: *mut private::clientid_t,
    state: *mut private::nfsd4_compound_state,
    nn: *mut private::nfsd_net,
) -> u32 {
    // SAFETY: The caller's pointers are valid. A client that is found stays during the request, which is the current one.
    unsafe {
        let is_known = !(*state).clp.is_null();
        let status = private::set_client(id, state, nn);
        if is_known {
            return status;
        }
        let Some(request) = Request::current() else {
            return status;
        };
        if status == private::nfsstat4_NFS4ERR_EXPIRED.to_be()
            && clientids::was_released(request.net(), [(*id).cl_boot, (*id).cl_id])
        {
            return private::nfsstat4_NFS4ERR_STALE_CLIENTID.to_be();
        }
        if let (0, Some(address)) = (status, request.client()) {
            clientids::came_from(Nfs4Client::from_raw((*state).clp), address);
        }
        status
    }
}

/// Replaces `locks_in_grace()`. Does not sleep, but where a lock or a share of NLM is put on record before: lockd asks in
/// a request's procedure, with a file's `f_mutex` at most.
///
/// # Safety
///
/// As for the function replaced: `net` is alive.
pub(crate) unsafe extern "C" fn locks_in_grace(net: *mut private::net) -> bool {
    // SAFETY: The namespace is alive, and this is a function of `grace`.
    unsafe {
        if in_grace::any_reason() {
            return black_box(is_in_grace(net, false));
        }
        // Each lock and unlock asks up to three times, so this needs no stack: it leaves for good.
        private::__state_in_grace(net, false)
    }
}

/// Replaces `opens_in_grace()`. Does not sleep, but where an OPEN is put on record before: nfsd asks in its procedure,
/// without a lock.
///
/// # Safety
///
/// As for the function replaced: `net` is alive.
pub(crate) unsafe extern "C" fn opens_in_grace(net: *mut private::net) -> bool {
    // SAFETY: As in `locks_in_grace()`.
    unsafe {
        if in_grace::any_reason() {
            return black_box(is_in_grace(net, true));
        }
        private::__state_in_grace(net, true)
    }
}

/// Is the server in grace, and the current request not exempt from that, or its scope? If not, is what it asks for on record,
/// so that it may be granted? May sleep for that.
///
/// # Safety
///
/// `net` is alive, `grace` is loaded, and nfsd or lockd ask in a request's procedure.
#[inline(never)]
unsafe fn is_in_grace(net: *mut private::net, opens: bool) -> bool {
    // SAFETY: By this function's requirement.
    let (is_server, net, request) = unsafe {
        let request = || Request::current();
        let is_server = private::__state_in_grace(net, opens);
        (is_server, Net::from_raw(net), request)
    };
    let is_exempt = || exempt::is_exempt(net, opens, request) || requests::is_refused(request);
    let is_in_grace = is_server && !is_exempt() || in_grace::in_grace(net, request);
    let is_in_grace = match in_grace::has_reason(Reason::Former) {
        true => may_reclaim(request(), opens, is_in_grace),
        false => is_in_grace,
    };
    if !in_grace::has_reason(Reason::Holds) {
        return is_in_grace;
    }
    match request() {
        // With NFSv4, a lock is of a file that is open.
        Some(request) if opens || request.is_of_lockd() => grants::answer(&request, is_in_grace),
        _ => is_in_grace,
    }
}

/// The same, where clients have rebooted that may reclaim what they had.
fn may_reclaim(request: Option<Request<'_>>, opens: bool, is_in_grace: bool) -> bool {
    let Some(compound) = request.as_ref().and_then(Request::compound) else {
        return is_in_grace;
    };
    let Some(client) = compound.client() else {
        return is_in_grace;
    };
    // SAFETY: It stays until the request is answered.
    let client = unsafe { Nfs4Client::from_raw(client.as_ptr()) };
    match opens {
        true => is_in_grace || compound.reclaims() && formers::has_any(client),
        false => handover::may_lock(client, &compound, is_in_grace).unwrap_or(false) || is_in_grace,
    }
}

/// Replaces `nsm_monitor()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the host is valid.
pub(crate) unsafe extern "C" fn nsm_monitor(host: *const private::nlm_host) -> c_int {
    // SAFETY: This is where lockd calls it: for its server side while it processes a request.
    let (host, request) = unsafe { (Host::new(host), Request::current()) };
    if let Err(e) = monitor::monitor(host, request.as_ref()) {
        return e.to_errno();
    }
    let Some(request) = request.as_ref().filter(|_| host.is_server()) else {
        return 0;
    };
    let puts_on_record = in_grace::has_reason(Reason::Holds);
    if puts_on_record {
        grants::prepare(request);
    }
    if !puts_on_record && !in_grace::has_reason(Reason::Exempt) {
        return 0;
    }
    let grant = request.nlm_grant();
    if grant.is_some_and(|grant| grant.is_share && grant.reclaims) {
        // lockd does not look whether who reclaims a share may, as it does for a lock: only here can it be refused.
        // SAFETY: lockd is loaded, and so is `grace`; a request of it is being processed, in its namespace.
        let may = unsafe { is_in_grace(request.net().as_ptr(), false) };
        return if may { 0 } else { EPERM.to_errno() };
    }
    0
}

/// Replaces `nsm_unmonitor()`. Called under `nlm_host_mutex`. May sleep.
///
/// # Safety
///
/// As for the function replaced: the host is valid.
pub(crate) unsafe extern "C" fn nsm_unmonitor(host: *const private::nlm_host) {
    if let Some(_module) = ModuleRef::get() {
        // SAFETY: This is where lockd calls it.
        monitor::unmonitor(unsafe { Host::new(host) });
    }
}

/// Replaces `security_file_lock()`. May sleep.
///
/// # Safety
///
/// As for the function replaced: a system call of the current task is about to lock, unlock or lease the file, which is
/// open.
pub(crate) unsafe extern "C" fn file_lock(file: *mut private::file, kind: c_uint) -> c_int {
    // SAFETY: The file is open, so it has an inode, and its file system is there. This is what was asked.
    let (status, device) = unsafe {
        let status = private::security_file_lock(file, kind);
        (status, || (*(*(*file).f_inode).i_sb).s_dev)
    };
    if status != 0 || kind == private::F_UNLCK || !in_grace::any_local() {
        return status;
    }
    let Some(_module) = ModuleRef::get() else {
        return status;
    };
    match local::wait(&Fsid::of_device(device())) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
