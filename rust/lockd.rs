// SPDX-License-Identifier: GPL-2.0

//! lockd's own structures: files, their locks, and the hosts that hold them.
//!
//! C source: `fs/lockd/lockd.h`, `fs/lockd/svcsubs.c`, `fs/lockd/svclock.c`. lockd has one
//! thread; it uses a file between `nlm_lookup_file()` and `nlm_release_file()`, or while it
//! walks the table, and counts itself in `f_count` for that time. Blocked locks count there,
//! too.
//!
//! Lock order, as in lockd: `nlmsvc_mutex`, `nlm_file_mutex`, a file's `f_mutex`,
//! `nlm_blocked_lock`; a host's `h_mutex` and an inode's `flc_lock` are taken alone.

use crate::monitor;
use crate::nfsd::Net;
use crate::private::{self, nlm_file, nlm_host, nlm_lockowner};
use crate::raw::{list_entries, MutexGuard, SpinGuard};
use crate::scope::Fsid;
use crate::sockaddr;
use core::net::IpAddr;
use core::ptr::{self, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CStr;

/// Chains of lockd's file table (`FILE_NRHASH`).
const FILE_CHAINS: usize = 128;

/// The kind of lock that fcntl(2) sets (`include/linux/filelock.h`).
const FL_POSIX: u32 = 1;

/// lockd, which neither starts nor stops while this lives: `nlmsvc_mutex` is held.
pub(crate) struct Lockd {
    _running: MutexGuard,
}

impl Lockd {
    /// Holds lockd as it is; `None` if it does not run. May sleep.
    ///
    /// # Safety
    ///
    /// lockd is loaded, and stays so until this is dropped. The caller holds no lock of lockd's.
    pub(crate) unsafe fn get() -> Option<Self> {
        // SAFETY: By this function's requirement.
        unsafe {
            let guard = MutexGuard::new(&raw mut private::nlmsvc_mutex);
            let runs = !(&raw const private::nlmsvc_serv).read_volatile().is_null();
            runs.then_some(Lockd { _running: guard })
        }
    }

    /// The files whose handle's fsid is wanted, pinned. May sleep.
    ///
    /// The order is that of lockd's table. Files that are added while this looks may be missing.
    pub(crate) fn files(&self, want: impl Fn(Option<Fsid>) -> bool) -> Result<KVVec<NlmFile>> {
        let mut files = KVVec::new();
        for chain in 0..FILE_CHAINS {
            // The lock is held for one chain only, as lockd needs it for every request.
            // SAFETY: The table's lock.
            let _lock = unsafe { MutexGuard::new(&raw mut private::nlm_file_mutex) };
            // SAFETY: The table has so many chains, and its lock is held.
            let mut node = unsafe { (&raw const private::nlm_files[chain].first).read_volatile() };
            while !node.is_null() {
                // SAFETY: The chain's nodes are in files, which stay while the lock is held.
                let file = unsafe { &mut *kernel::container_of!(node, nlm_file, f_list) };
                node = file.f_list.next;
                if want(Fsid::of_handle(handle(file))) {
                    // The room first, as a pin cannot be given back under the lock.
                    files.reserve(1, GFP_KERNEL)?;
                    file.f_count += 1;
                    files.push(NlmFile(NonNull::from(file)), GFP_KERNEL)?;
                }
            }
        }
        Ok(files)
    }
}

/// The NFS file handle of a file. It never changes.
fn handle(file: &nlm_file) -> &[u8] {
    let handle = &file.f_handle;
    handle.data.get(..usize::from(handle.size)).unwrap_or(&[])
}

/// A file of lockd's, pinned: it stays in lockd's table.
///
/// Dropping it may sleep, and takes `nlm_file_mutex`.
pub(crate) struct NlmFile(NonNull<nlm_file>);

impl NlmFile {
    pub(crate) fn as_ptr(&self) -> *mut nlm_file {
        self.0.as_ptr()
    }

    /// The fsid of its handle.
    pub(crate) fn fsid(&self) -> Option<Fsid> {
        // SAFETY: The file is pinned.
        Fsid::of_handle(handle(unsafe { self.0.as_ref() }))
    }

    /// The open files that its locks are set on, by access mode.
    fn opens(&self) -> [*mut private::file; 2] {
        // SAFETY: The file is pinned. lockd sets each of these once, in one go.
        unsafe {
            let opens = addr_of_mut!((*self.as_ptr()).f_file);
            [(*opens)[0], (*opens)[1]]
        }
    }

    /// An open file of it. lockd has at least one for each file in its table.
    pub(crate) fn any_open(&self) -> *mut private::file {
        let [read, write] = self.opens();
        if read.is_null() {
            write
        } else {
            read
        }
    }

    /// Its inode.
    pub(crate) fn inode(&self) -> *mut private::inode {
        // SAFETY: The file is pinned, so its open files are there.
        unsafe { (*self.any_open()).f_inode }
    }

    /// Has it shares?
    pub(crate) fn has_shares(&self) -> bool {
        // SAFETY: The file is pinned; a pointer is read in one go.
        unsafe {
            !addr_of_mut!((*self.as_ptr()).f_shares)
                .read_volatile()
                .is_null()
        }
    }

    /// Does somebody else than its blocked locks and us use it? Whoever is not counted does not
    /// look at its shares. May sleep.
    pub(crate) fn is_in_use(&self) -> bool {
        // SAFETY: The table's lock.
        let lock = unsafe { MutexGuard::new(&raw mut private::nlm_file_mutex) };
        self.is_in_use_locked(&lock)
    }

    /// As [`NlmFile::is_in_use`], with `nlm_file_mutex` held. May sleep.
    pub(crate) fn is_in_use_locked(&self, _table: &MutexGuard) -> bool {
        let file = self.as_ptr();
        // SAFETY: The file is pinned; blocked locks come and go under its lock.
        unsafe {
            let _lock = MutexGuard::new(addr_of_mut!((*file).f_mutex));
            let blocks = list_entries(addr_of_mut!((*file).f_blocks)).count();
            (*file).f_count as usize != blocks + 1
        }
    }

    /// The locks that lockd set through this file and whose host is wanted, in the order of the
    /// VFS. May sleep.
    ///
    /// Not those of the same inode that were set through another file handle.
    pub(crate) fn locks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVVec<HeldLock>> {
        let mut locks = KVVec::new();
        // SAFETY: The file is pinned, so its inode is there. The pointer is set once, and read
        // as `locks_inode_context()` does.
        let context = unsafe {
            let slot = addr_of_mut!((*self.inode()).i_flctx);
            (*slot.cast::<AtomicPtr<private::file_lock_context>>()).load(Ordering::Acquire)
        };
        if context.is_null() {
            return Ok(locks);
        }
        let opens = self.opens();
        loop {
            let mut missing = 0;
            {
                // SAFETY: An inode keeps its context. Its lock is held, so that its locks, and
                // the owners of those that are lockd's, stay.
                let _lock = unsafe { SpinGuard::new(addr_of_mut!((*context).flc_lock)) };
                // SAFETY: As above.
                for node in unsafe { list_entries(addr_of_mut!((*context).flc_posix)) } {
                    // SAFETY: As above; each node is in a lock.
                    let fl = unsafe { &*file_lock_of(node) };
                    if !ptr::eq(fl.fl_lmops, &raw const private::nlmsvc_lock_operations) {
                        continue;
                    }
                    let Some(mode) = opens.iter().position(|open| *open == fl.c.flc_file) else {
                        continue;
                    };
                    let owner = fl.c.flc_owner.cast::<nlm_lockowner>();
                    // SAFETY: A lock of lockd's has an owner, who has a host.
                    if !want(unsafe { Host::new((*owner).host) }) {
                        continue;
                    }
                    if locks.len() == locks.capacity() {
                        missing += 1;
                        continue;
                    }
                    // SAFETY: As above.
                    let owner = unsafe { Owner::get(owner) };
                    locks.push(HeldLock::new(owner, fl, mode), GFP_ATOMIC)?;
                }
            }
            if missing == 0 {
                return Ok(locks);
            }
            let room = locks.len() + missing;
            drop(locks);
            locks = KVVec::with_capacity(room, GFP_KERNEL)?;
        }
    }

    /// Sets or removes a lock. May sleep.
    ///
    /// Fails as the file system's lock operation does.
    fn change(&self, held: &HeldLock, remove: bool) -> Result {
        let open = self.opens()[held.mode];
        // SAFETY: All zeros is a value of this type, which `locks_init_lock()` then prepares.
        let mut fl: private::file_lock = unsafe { core::mem::zeroed() };
        // SAFETY: It is ours.
        unsafe { private::locks_init_lock(&mut fl) };
        fl.c.flc_flags = FL_POSIX;
        fl.c.flc_type = if remove {
            private::F_UNLCK as u8
        } else {
            held.kind
        };
        fl.c.flc_owner = held.owner.0.as_ptr().cast();
        fl.c.flc_pid = held.pid;
        fl.c.flc_file = open;
        fl.fl_start = held.start;
        fl.fl_end = held.end;
        if !remove {
            // The VFS takes its own reference to the owner.
            fl.fl_lmops = &raw const private::nlmsvc_lock_operations;
        }
        // SAFETY: The file is pinned, so it stays open; the owner is there.
        let result =
            unsafe { private::vfs_lock_file(open, private::F_SETLK, &mut fl, ptr::null_mut()) };
        match result {
            0 => Ok(()),
            // FILE_LOCK_DEFERRED: the file system will answer some time.
            n if n > 0 => Err(EAGAIN),
            n => Err(Error::from_errno(n)),
        }
    }

    /// Removes a lock. May sleep.
    pub(crate) fn unlock(&self, held: &HeldLock) -> Result {
        self.change(held, true)
    }

    /// Sets a lock that was removed, as it was. May sleep.
    pub(crate) fn relock(&self, held: &HeldLock) -> Result {
        self.change(held, false)
    }
}

impl Drop for NlmFile {
    fn drop(&mut self) {
        // SAFETY: The pin is ours. A file without locks, blocks and shares is closed here.
        unsafe { private::nlm_release_file(self.as_ptr()) };
    }
}

/// The lock that a node of `flc_posix` is in.
fn file_lock_of(node: *mut private::list_head) -> *mut private::file_lock {
    const OFFSET: usize = core::mem::offset_of!(private::file_lock, c)
        + core::mem::offset_of!(private::file_lock_core, flc_list);
    node.wrapping_byte_sub(OFFSET).cast()
}

/// A lock that lockd holds for a client.
pub(crate) struct HeldLock {
    owner: Owner,
    start: private::loff_t,
    end: private::loff_t,
    pid: private::pid_t,
    kind: u8,
    mode: usize,
}

impl HeldLock {
    fn new(owner: Owner, fl: &private::file_lock, mode: usize) -> Self {
        HeldLock {
            owner,
            start: fl.fl_start,
            end: fl.fl_end,
            pid: fl.c.flc_pid,
            kind: fl.c.flc_type,
            mode,
        }
    }

    /// Whose it is.
    pub(crate) fn host(&self) -> Host<'_> {
        // SAFETY: The owner has a host, and we have the owner.
        unsafe { Host::new(self.owner.0.as_ref().host) }
    }

    /// Its first and last byte.
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.start, self.end)
    }
}

/// A reference to the owner of a lock, which has one to its host.
struct Owner(NonNull<nlm_lockowner>);

impl Owner {
    /// A reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// `owner` is valid.
    unsafe fn get(owner: *mut nlm_lockowner) -> Self {
        // SAFETY: By this function's requirement (`nlmsvc_get_lockowner()`).
        unsafe {
            bindings::refcount_inc(addr_of_mut!((*owner).count).cast());
            Owner(NonNull::new_unchecked(owner))
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { private::nlmsvc_put_lockowner(self.0.as_ptr()) };
    }
}

/// A client, as lockd knows it: its address, the server's address that it uses, the version and
/// the transport.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a>(&'a nlm_host);

impl<'a> Host<'a> {
    /// The host.
    ///
    /// # Safety
    ///
    /// `raw` is a host of lockd's server side, valid for `'a`.
    pub(crate) unsafe fn new(raw: *const nlm_host) -> Self {
        // SAFETY: By this function's requirement.
        Host(unsafe { &*raw })
    }

    /// Its net namespace.
    pub(crate) fn net(self) -> Net {
        Net::new(self.0.net)
    }

    /// The client's address.
    pub(crate) fn client(self) -> Option<IpAddr> {
        // SAFETY: Set when the host is made, and never changed.
        unsafe { sockaddr::address(&self.0.h_addr) }
    }

    /// The server's address that the client uses.
    pub(crate) fn server(self) -> Option<IpAddr> {
        // SAFETY: As for `client()`.
        unsafe { sockaddr::address(&self.0.h_srcaddr) }
    }

    /// The NLM version.
    pub(crate) fn version(self) -> u32 {
        self.0.h_version
    }

    /// The transport: an IP protocol number.
    pub(crate) fn protocol(self) -> u16 {
        self.0.h_proto
    }

    /// The name that the client gave itself.
    pub(crate) fn name(self) -> &'a [u8] {
        // SAFETY: The name is that of the host's NSM handle, which the host keeps.
        unsafe { CStr::from_char_ptr(self.0.h_name) }.to_bytes()
    }

    /// Keeps the client monitored when lockd forgets the host. Does not sleep.
    pub(crate) fn keep_monitored(self) {
        // SAFETY: The host keeps its handle.
        unsafe { monitor::stay_monitored(self.0.h_nsmhandle) };
    }
}

/// The length of lockd's grace period in a net namespace, in seconds
/// (`get_lockd_grace_period()`).
///
/// # Safety
///
/// lockd is loaded and stays so, and `net` is alive.
pub(crate) unsafe fn grace_seconds(net: Net) -> u32 {
    // SAFETY: By this function's requirement; what sysctl may change is read in one go.
    unsafe {
        let own = net.generic::<private::lockd_net>(private::lockd_net_id);
        let own = addr_of_mut!((*own).gracetime).read_volatile();
        if own != 0 {
            return own;
        }
        let set = (&raw const private::nlm_grace_period).read_volatile();
        let timeout = (&raw const private::nlm_timeout).read_volatile().max(1);
        let seconds = if set != 0 {
            set.next_multiple_of(timeout)
        } else {
            timeout * 5
        };
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}
