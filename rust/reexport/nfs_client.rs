// SPDX-License-Identifier: GPL-2.0

//! What the NFS client knows of a server that this machine has mounted something of.
//!
//! C source: `struct nfs_client` in `include/linux/nfs_fs_sb.h`.

use crate::base::net::Net;
use crate::base::private::{self, nfs_client, nfs_server, super_block};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use kernel::cred::Credential;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::aref::ARef;

/// Something was lost, and is opened and locked anew (`NFS4CLNT_RECLAIM_NOGRACE`).
const NO_GRACE: usize = 1 << private::nfs4_client_state_NFS4CLNT_RECLAIM_NOGRACE;
/// The version of NFS in `struct nfs_rpc_ops`.
const NFS4: u32 = 4;

/// A server of which something is mounted, as the NFS client knows it.
///
/// # Invariants
///
/// It is valid for `'a`, and so are the namespace that it is of and its name.
#[derive(Clone, Copy)]
pub(crate) struct NfsClient<'a>(NonNull<nfs_client>, PhantomData<&'a nfs_client>);

impl<'a> NfsClient<'a> {
    /// That at a pointer.
    ///
    /// # Safety
    ///
    /// It is valid for the lifetime: the NFS client has a reference to it, and its namespace and name do not change.
    pub(crate) unsafe fn from_raw(client: *mut nfs_client) -> Option<Self> {
        // INVARIANT: By this function's requirement.
        Some(NfsClient(NonNull::new(client)?, PhantomData))
    }

    /// That of a mount's server.
    ///
    /// # Safety
    ///
    /// The pointer is valid, and what it leads to stays for the lifetime.
    pub(crate) unsafe fn of_server(server: *const nfs_server) -> Option<Self> {
        // SAFETY: A server that is mounted has a reference to its client, which stays the same without migration, which
        // the kernels that are targeted do not have (`CONFIG_NFS_V4_1_MIGRATION`).
        unsafe { Self::from_raw((*server).nfs_client) }
    }

    /// That of a file system of the NFS client.
    ///
    /// # Safety
    ///
    /// The superblock is one of the NFS client's, and stays for the lifetime.
    pub(crate) unsafe fn of_file_system(sb: *const super_block) -> Option<Self> {
        // SAFETY: It has its server from its beginning to its end.
        unsafe { Self::of_server((*sb).s_fs_info.cast()) }
    }

    /// A number that stands for it as long as it is there.
    pub(crate) fn number(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Is it of NFSv4.1 or later, so that it has sessions and says that it has reclaimed?
    pub(crate) fn has_sessions(self) -> bool {
        // SAFETY: It is valid, and neither changes after the first mount.
        let (version, minor) = unsafe {
            (
                (*(*self.0.as_ptr()).rpc_ops).version,
                (*self.0.as_ptr()).cl_minorversion,
            )
        };
        version == NFS4 && minor > 0
    }

    /// The minor version of NFSv4.
    pub(crate) fn minor_version(self) -> u32 {
        // SAFETY: It is valid, and this does not change after the first mount.
        unsafe { (*self.0.as_ptr()).cl_minorversion }
    }

    /// The namespace that it is mounted in.
    pub(crate) fn net(self) -> Net<'a> {
        // SAFETY: It has a reference to its namespace.
        unsafe { Net::from_raw((*self.0.as_ptr()).cl_net) }
    }

    /// The server's name, as it was given to mount(8), or its address.
    pub(crate) fn name(self) -> &'a CStr {
        // SAFETY: It is a text with an end, made with the client, which is valid.
        unsafe { CStr::from_char_ptr((*self.0.as_ptr()).cl_hostname) }
    }

    /// Its state manager's bits. Does not sleep.
    fn state(self) -> usize {
        // SAFETY: It is valid, and its state consists of bits that are changed in one go (`set_bit()`).
        let state = unsafe { AtomicUsize::from_ptr(&raw mut (*self.0.as_ptr()).cl_state) };
        state.load(Ordering::Relaxed)
    }

    /// Has its server answered since a moment, in jiffies, or then, and is nothing being recovered? Does not sleep.
    pub(crate) fn has_answered_since(self, moment: usize) -> bool {
        const RECOVERY: usize = 1 << private::nfs4_client_state_NFS4CLNT_LEASE_EXPIRED
            | 1 << private::nfs4_client_state_NFS4CLNT_RECLAIM_REBOOT
            | NO_GRACE
            | 1 << private::nfs4_client_state_NFS4CLNT_SESSION_RESET;
        // SAFETY: It is valid, and this is read in one go.
        let renewed = unsafe { (&raw const (*self.0.as_ptr()).cl_last_renewal).read_volatile() };
        self.state() & RECOVERY == 0 && (renewed.wrapping_sub(moment) as isize) >= 0
    }

    /// Has something been lost that is to be opened anew? A server takes no OPEN for that before RECLAIM_COMPLETE. Does not
    /// sleep.
    pub(crate) fn has_lost(self) -> bool {
        self.state() & NO_GRACE != 0
    }

    /// Says to the server that all is reclaimed, in this thread, which is the state manager's. Returns what becomes of it. May
    /// sleep, as long as the server does not answer.
    pub(crate) fn reclaim_complete_now(self) -> i32 {
        let client = self.0.as_ptr();
        // SAFETY: The client is valid, and of NFSv4.1 or later. The credentials come with a reference, which is ours.
        unsafe {
            let Some(cred) = NonNull::new(private::nfs4_get_clid_cred(client).cast_mut()) else {
                return EAGAIN.to_errno();
            };
            let result = private::nfs41_proc_reclaim_complete(client, cred.as_ptr());
            let _cred: ARef<Credential> = ARef::from_raw(cred.cast());
            result
        }
    }

    /// Has something in it, which the current thread has open, been delegated to this machine? Does not sleep.
    ///
    /// # Safety
    ///
    /// The inode is of a file system that this client has mounted, and stays during the call.
    pub(crate) unsafe fn has_delegated(self, inode: *mut private::inode) -> bool {
        const READ: u32 = 1;
        // SAFETY: The client is valid, and has operations, those of its version; the inode is one of its mounts.
        unsafe {
            let asks = (*(*self.0.as_ptr()).rpc_ops).have_delegation;
            asks.is_some_and(|asks| asks(inode, READ, 0) != 0)
        }
    }

    /// A reference to it, unless the last one is just going. Does not sleep.
    pub(crate) fn get(self) -> Option<ClientRef> {
        // SAFETY: The count of a valid client is an atomic number.
        let count = unsafe {
            let count = &raw mut (*self.0.as_ptr()).cl_count.refs.counter;
            AtomicI32::from_ptr(count)
        };
        let more = |count: i32| (count > 0).then(|| count + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        // INVARIANT: The reference was taken just now.
        Some(ClientRef(self.0))
    }
}

/// A reference to one. Dropping it may sleep, and talk with the server.
///
/// # Invariants
///
/// The reference is this one's: so the client is valid, and its module stays loaded.
pub(crate) struct ClientRef(NonNull<nfs_client>);

// SAFETY: A reference may be given up by another thread than that which took it.
unsafe impl Send for ClientRef {}

impl ClientRef {
    /// Is it the last one?
    pub(crate) fn is_last(&self) -> bool {
        // SAFETY: The count of a valid client is an atomic number.
        let count =
            unsafe { AtomicI32::from_ptr(&raw mut (*self.0.as_ptr()).cl_count.refs.counter) };
        count.load(Ordering::Relaxed) == 1
    }

    /// Has the NFS client's state manager say to the server that all is reclaimed (RFC 8881, 18.51), as it does at the end of
    /// a recovery: after one that it may be in the midst of. May sleep.
    pub(crate) fn reclaim_complete(&self) {
        self.set(private::nfs4_client_state_NFS4CLNT_RECLAIM_REBOOT);
        // SAFETY: The client is valid, and of NFSv4.1 or later. The function takes references of its own.
        unsafe { private::nfs4_schedule_state_manager(self.0.as_ptr()) };
    }

    /// Has it ask the server whether its lease is valid, which renews that. May sleep.
    pub(crate) fn ask(&self) {
        // SAFETY: As above.
        unsafe { private::nfs4_schedule_lease_recovery(self.0.as_ptr()) };
    }

    fn set(&self, bit: u32) {
        // SAFETY: The client is valid, and its state consists of bits that are changed in one go (`set_bit()`).
        let state = unsafe { AtomicUsize::from_ptr(&raw mut (*self.0.as_ptr()).cl_state) };
        state.fetch_or(1 << bit, Ordering::AcqRel);
    }
}

impl Drop for ClientRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::nfs_put_client(self.0.as_ptr()) };
    }
}
