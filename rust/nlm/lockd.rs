// SPDX-License-Identifier: GPL-2.0

//! lockd, and its table of files.
//!
//! C source: `fs/lockd/svcsubs.c`. lockd has one thread; it uses a file between
//! `nlm_lookup_file()` and `nlm_release_file()`, or while it walks the table, and counts itself
//! in `f_count` for that time. Blocked locks count there, too. That count is no atomic one, and
//! lockd changes it under the table's lock or, for blocked locks, under the file's: we change it
//! under both.
//!
//! Lock order, as in lockd: `nlmsvc_mutex`, `nlm_file_mutex`, a file's `f_mutex`, then
//! `nlm_blocked_lock` or an inode's `flc_lock`; a host's `h_mutex` is taken alone.

use crate::base::net::Nfsd;
use crate::base::private::{self, list_head, nlm_file};
use crate::base::raw::{list_entries, MutexGuard};
use crate::scopes::scope::Fsid;
use core::marker::PhantomData;
use core::ptr::{addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta};

/// How often to look whether somebody still holds lockd, and the time between.
const TRIES: usize = 50;
const PAUSE: Delta = Delta::from_millis(20);

/// Chains of lockd's file table (`FILE_NRHASH`).
const FILE_CHAINS: usize = 128;

/// lockd, which neither starts nor stops while this lives: `nlmsvc_mutex` is held.
///
/// # Invariants
///
/// lockd is loaded for `'a`, and runs.
pub(crate) struct Lockd<'a> {
    _running: MutexGuard,
    _loaded: PhantomData<Nfsd<'a>>,
}

impl<'a> Lockd<'a> {
    /// Holds lockd as it is; `None` if it does not run. May sleep; the caller holds no lock of lockd's.
    pub(crate) fn get(_: Nfsd<'a>) -> Option<Self> {
        // SAFETY: lockd stays loaded for `'a`, and so does its mutex.
        unsafe { Self::if_running(MutexGuard::new(&raw mut private::nlmsvc_mutex)) }
    }

    /// As [`Lockd::get`], but fails with `EBUSY` if lockd starts, stops or is held for longer than
    /// a second. For who may be called by somebody that lockd waits for, as it does for rpc.statd
    /// when it stops.
    pub(crate) fn try_get(_: Nfsd<'a>) -> Result<Option<Self>> {
        for _ in 0..TRIES {
            // SAFETY: lockd stays loaded for `'a`, and so does its mutex.
            unsafe {
                if let Some(guard) = MutexGuard::try_new(&raw mut private::nlmsvc_mutex) {
                    return Ok(Self::if_running(guard));
                }
            }
            fsleep(PAUSE);
        }
        Err(EBUSY)
    }

    /// lockd, if it runs.
    ///
    /// # Safety
    ///
    /// lockd is loaded, and the guard is that of `nlmsvc_mutex`.
    unsafe fn if_running(guard: MutexGuard) -> Option<Self> {
        // SAFETY: By this function's requirement; the pointer changes under this lock.
        let server = unsafe { (&raw const private::nlmsvc_serv).read_volatile() };
        (!server.is_null()).then(|| Lockd {
            _running: guard,
            _loaded: PhantomData,
        })
    }

    /// The files whose handle's fsid is wanted, pinned. May sleep; `want` is asked under the table's
    /// lock.
    ///
    /// The order is that of lockd's table. Files that are added while this looks may be missing.
    pub(crate) fn files(&self, want: impl Fn(Option<Fsid>) -> bool) -> Result<KVVec<NlmFile>> {
        let mut files = KVVec::new();
        for chain in 0..FILE_CHAINS {
            // The lock is held for one chain only, as lockd needs it for every request.
            let _lock = table_lock();
            // SAFETY: lockd is loaded, the table has so many chains, and its lock is held.
            let mut node = unsafe { (&raw const private::nlm_files[chain].first).read_volatile() };
            while !node.is_null() {
                // SAFETY: The chain's nodes are in files, which stay while the lock is held. Their count
                // changes under this lock and the file's.
                unsafe {
                    let file: *mut nlm_file = kernel::container_of!(node, nlm_file, f_list);
                    node = (*file).f_list.next;
                    if want(fsid(file)) {
                        // The room first, as a pin cannot be given back under the lock.
                        files.reserve(1, GFP_KERNEL)?;
                        let _lock = MutexGuard::new(addr_of_mut!((*file).f_mutex));
                        (*file).f_count += 1;
                        files.push(NlmFile(NonNull::new_unchecked(file)), GFP_KERNEL)?;
                    }
                }
            }
        }
        Ok(files)
    }
}

/// The fsid of a file's handle, which never changes.
///
/// # Safety
///
/// The file is valid.
unsafe fn fsid(file: *const nlm_file) -> Option<Fsid> {
    // SAFETY: By this function's requirement.
    let handle = unsafe { &(*file).f_handle };
    Fsid::of_handle(handle.data.get(..usize::from(handle.size))?)
}

/// A file of lockd's, pinned: it stays in lockd's table.
///
/// Dropping it may sleep, and takes `nlm_file_mutex`.
pub(crate) struct NlmFile(NonNull<nlm_file>);

impl NlmFile {
    /// Takes over a pin that somebody else has made.
    ///
    /// # Safety
    ///
    /// The file is pinned, and the pin is the caller's.
    pub(crate) unsafe fn from_raw(file: *mut nlm_file) -> Self {
        // SAFETY: By this function's requirement.
        NlmFile(unsafe { NonNull::new_unchecked(file) })
    }

    /// The file.
    pub(crate) fn as_ptr(&self) -> *mut nlm_file {
        self.0.as_ptr()
    }

    /// The fsid of its handle.
    pub(crate) fn fsid(&self) -> Option<Fsid> {
        // SAFETY: The file is pinned.
        unsafe { fsid(self.as_ptr()) }
    }

    /// The open files that its locks are set on, by access mode; null where there is none.
    pub(crate) fn opens(&self) -> [*mut private::file; 2] {
        // SAFETY: The file is pinned. lockd sets each of these once, in one go, and only lets go of them
        // when it frees the file.
        unsafe { addr_of_mut!((*self.as_ptr()).f_file).read_volatile() }
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

    /// Its list of blocked locks, which changes under its `f_mutex`.
    pub(crate) fn block_list(&self) -> *mut list_head {
        // SAFETY: The file is pinned; the address of a field.
        unsafe { addr_of_mut!((*self.as_ptr()).f_blocks) }
    }

    /// Its `f_mutex`, held. May sleep.
    pub(crate) fn lock(&self) -> MutexGuard {
        // SAFETY: The file is pinned, and who has the guard has the file. Nothing here keeps this lock
        // and asks for it again.
        unsafe { MutexGuard::new(addr_of_mut!((*self.as_ptr()).f_mutex)) }
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
    /// look at its shares, and comes there through the table only. May sleep.
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_in_use_locked(&table_lock())
    }

    /// As [`NlmFile::is_in_use`], with `nlm_file_mutex` held. May sleep.
    pub(crate) fn is_in_use_locked(&self, _table: &MutexGuard) -> bool {
        let _lock = self.lock();
        // SAFETY: The file is pinned; both of its locks are held.
        unsafe {
            let blocks = list_entries(self.block_list()).count();
            (*self.as_ptr()).f_count as usize != blocks + 1
        }
    }

    /// Takes the file from the table if nothing needs it but our pin; its open files are then
    /// for the caller to close, and the structure to free.
    fn leave(&self) -> Option<[*mut private::file; 2]> {
        let _table = table_lock();
        let _lock = self.lock();
        // SAFETY: The file is pinned; both of its locks are held. This is what
        // `nlm_release_file()`, `nlm_file_inuse()` and `nlm_delete_file()` do.
        unsafe {
            let file = self.as_ptr();
            (*file).f_count -= 1;
            if (*file).f_count != 0 || self.has_shares() || self.has_nlm_locks() {
                return None;
            }
            let node = addr_of_mut!((*file).f_list);
            *(*node).pprev = (*node).next;
            if !(*node).next.is_null() {
                (*(*node).next).pprev = (*node).pprev;
            }
            Some(self.opens())
        }
    }
}

impl Drop for NlmFile {
    fn drop(&mut self) {
        let Some(opens) = self.leave() else {
            return;
        };
        for open in opens.into_iter().filter(|open| !open.is_null()) {
            // SAFETY: The reference was that of lockd's file, which is not in the table any more.
            // `fclose` of nfsd's operations is the same as this (`include/linux/lockd/bind.h`).
            unsafe { private::fput(open) };
        }
        // SAFETY: `nlm_lookup_file()` allocated it. Nobody else has it: it is not in the table, and
        // nobody was counted as its user.
        unsafe { bindings::kfree(self.as_ptr().cast()) };
    }
}

/// The lock of lockd's table of files, held. May sleep.
pub(crate) fn table_lock() -> MutexGuard {
    // SAFETY: lockd is loaded: who calls has a `Lockd` or a file of lockd's. Nothing here keeps this
    // lock and asks for it again.
    unsafe { MutexGuard::new(&raw mut private::nlm_file_mutex) }
}

/// The length of lockd's grace period in a net namespace, in seconds
/// (`get_lockd_grace_period()`).
pub(crate) fn grace_seconds(nfsd: Nfsd<'_>) -> u32 {
    // SAFETY: lockd is loaded with nfsd, and keeps this for the namespace; what sysctl may change is read in one
    // go.
    unsafe {
        let own = nfsd.generic::<private::lockd_net>(private::lockd_net_id);
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
