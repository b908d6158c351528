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

use crate::base::net::{Net, Nfsd};
use crate::base::private::{self, lockd_share, nlm_block, nlm_file, svc_serv};
use crate::base::raw::{list_entries, MutexGuard};
use crate::base::transport::Service;
use crate::base::vfs::{OpenFile, PathRef};
use crate::scopes::exported;
use crate::scopes::place::{Form, Place};
use crate::scopes::scope::Fsid;
use core::marker::PhantomData;
use core::ptr::{addr_of_mut, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::bindings;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta};

/// How often to look whether somebody still holds lockd, and the time between.
const TRIES: usize = 50;
const PAUSE: Delta = Delta::from_millis(20);

/// Chains of lockd's file table (`FILE_NRHASH`).
const FILE_CHAINS: usize = 128;

/// lockd, which neither starts nor stops while this lives.
///
/// # Invariants
///
/// This thread holds `nlmsvc_mutex`, and lockd runs; so it is loaded, and its server is there.
pub(crate) struct Lockd {
    server: NonNull<svc_serv>,
    _running: MutexGuard,
}

impl Lockd {
    /// Holds lockd as it is; `None` if it does not run. Fails with `EBUSY` if lockd starts, stops or is held for longer than
    /// five seconds: while it stops it waits for its thread, which may wait for an rpc.statd that does not answer. May
    /// sleep; the caller holds no lock of lockd's.
    pub(crate) fn get(nfsd: Nfsd<'_>) -> Result<Option<Self>> {
        Self::within(nfsd, 5 * TRIES)
    }

    /// The same, but waits a second at most. For who may be called by somebody that lockd waits for, as it does for
    /// rpc.statd when it stops.
    pub(crate) fn try_get(nfsd: Nfsd<'_>) -> Result<Option<Self>> {
        Self::within(nfsd, TRIES)
    }

    fn within(nfsd: Nfsd<'_>, tries: usize) -> Result<Option<Self>> {
        for _ in 0..tries {
            if let Some(lockd) = Self::try_once(nfsd) {
                return Ok(lockd);
            }
            fsleep(PAUSE);
        }
        Err(EBUSY)
    }

    /// As [`Lockd::get`], but does not wait: `None` if lockd starts, stops or is held. Does not sleep.
    pub(crate) fn try_once(nfsd: Nfsd<'_>) -> Option<Option<Self>> {
        // SAFETY: lockd is loaded during the call, so that its mutex is there, and afterwards if it runs.
        let guard = unsafe { MutexGuard::try_new(&raw mut private::nlmsvc_mutex) }?;
        Some(Self::held(nfsd, guard))
    }

    /// lockd with `nlmsvc_mutex` held, if it runs. If it does, its thread runs, or is about to or was just now, and
    /// keeps lockd loaded.
    fn held(_: Nfsd<'_>, mutex: MutexGuard) -> Option<Self> {
        // SAFETY: lockd is loaded during the call; a pointer, read in one go.
        let server = unsafe { (&raw const private::nlmsvc_serv).read_volatile() };
        // INVARIANT: It runs, and the mutex is held, under which it starts and stops.
        NonNull::new(server).map(|server| Lockd {
            server,
            _running: mutex,
        })
    }

    /// The server as sunrpc has it.
    pub(crate) fn service(&self) -> Service<'_> {
        // SAFETY: lockd does not stop as long as we are borrowed.
        unsafe { Service::from_raw(self.server) }
    }

    /// The lock of its table of files. May sleep.
    pub(crate) fn table_lock(&self) -> TableLock<'_> {
        // INVARIANT: The mutex is the table's, and its guard is in the value.
        TableLock {
            // SAFETY: lockd is loaded, so that its mutex is there, for as long as `self` is borrowed.
            _guard: unsafe { MutexGuard::new(&raw mut private::nlm_file_mutex) },
            _lockd: PhantomData,
        }
    }

    /// The files that are where it is wanted, as a net namespace's exports are, pinned. May sleep; `want` is asked under
    /// the table's lock.
    ///
    /// The order is that of lockd's table. Files that are added while this looks may be missing.
    pub(crate) fn files(
        &self,
        net: Net<'_>,
        want: impl Fn(&Place) -> bool,
    ) -> Result<KVVec<NlmFile<'_>>> {
        let mut files = KVVec::new();
        self.each_listed(|listed| {
            if want(&listed.place(net)) {
                // The room first, as a pin cannot be given back under the lock.
                files.reserve(1, GFP_KERNEL)?;
                // SAFETY: The file is in the table, whose lock is held: its count changes under this lock and its own. The
                // pin is the new value's.
                unsafe {
                    let file = listed.0.as_ptr();
                    let _lock = MutexGuard::new(addr_of_mut!((*file).f_mutex));
                    (*file).f_count += 1;
                    files.push(NlmFile::from_raw(self, listed.0), GFP_KERNEL)?;
                }
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Calls `f` with where each of its files is, as a net namespace's exports are, under the table's lock. Fails as `f` does.
    /// May sleep.
    pub(crate) fn each_place(&self, net: Net<'_>, mut f: impl FnMut(&Place) -> Result) -> Result {
        self.each_listed(|listed| f(&listed.place(net)))
    }

    /// Calls `f` with each of its files, under the table's lock. Fails as `f` does. May sleep.
    fn each_listed(&self, mut f: impl FnMut(Listed<'_>) -> Result) -> Result {
        for chain in 0..FILE_CHAINS {
            // The lock is held for one chain only, as lockd needs it for every request.
            let _table = self.table_lock();
            // SAFETY: lockd is loaded, and the table has so many chains. Its lock is held, so that the
            // files that the chain's nodes are in stay listed.
            unsafe {
                let mut node = (&raw const private::nlm_files[chain].first).read_volatile();
                while !node.is_null() {
                    let file: *mut nlm_file = kernel::container_of!(node, nlm_file, f_list);
                    node = (*file).f_list.next;
                    f(Listed(NonNull::new_unchecked(file), PhantomData))?;
                }
            }
        }
        Ok(())
    }
}

/// The lock of lockd's table of files, held: no file comes to the table or leaves it, and nobody
/// comes to use one by it.
///
/// # Invariants
///
/// This thread holds `nlm_file_mutex`.
pub(crate) struct TableLock<'a> {
    _guard: MutexGuard,
    /// lockd has the mutex.
    _lockd: PhantomData<&'a Lockd>,
}

/// A file in lockd's table.
///
/// # Invariants
///
/// For `'a` the file stays there, as the table's lock is held or the file is pinned. So it is valid, its handle does not
/// change, and it has at least one open file, whose inode is there.
#[derive(Clone, Copy)]
struct Listed<'a>(NonNull<nlm_file>, PhantomData<&'a nlm_file>);

impl<'a> Listed<'a> {
    /// The open files that its locks are set on, by access mode; null where there is none.
    fn opens(self) -> [*mut private::file; 2] {
        // SAFETY: The file is valid. lockd sets each of these once, in one go, and only lets go of them when it
        // frees the file.
        unsafe { addr_of_mut!((*self.0.as_ptr()).f_file).read_volatile() }
    }

    /// An open file of it.
    fn any_open(self) -> OpenFile<'a> {
        let [read, write] = self.opens();
        let open = if read.is_null() { write } else { read };
        // SAFETY: There is one, by the type's invariant, which stays open as long as the file is in the table.
        unsafe { OpenFile::from_raw(NonNull::new_unchecked(open)) }
    }

    /// Where it is, as a net namespace's exports are. Does not sleep.
    fn place(self, net: Net<'_>) -> Place {
        // SAFETY: The file is valid, and its handle does not change.
        let handle = unsafe { &(*self.0.as_ptr()).f_handle };
        let form = handle
            .data
            .get(..usize::from(handle.size))
            .and_then(Form::of_handle);
        let inode = self.any_open().inode();
        Place {
            device: Some(Fsid::of_device(inode.device)),
            file_system: Some(inode.file_system),
            ..form.map_or_else(Place::default, |form| {
                exported::place_of_form(net, &form, None)
            })
        }
    }
}

/// A file of lockd's, pinned: it stays in lockd's table.
///
/// Dropping it may sleep, and takes `nlm_file_mutex`.
///
/// # Invariants
///
/// The file is counted in its `f_count` once for this value, while lockd runs. So it is valid and
/// in the table, and has at least one open file, whose inode is there.
pub(crate) struct NlmFile<'a> {
    raw: NonNull<nlm_file>,
    lockd: &'a Lockd,
}

impl<'a> NlmFile<'a> {
    /// Takes over a pin that somebody else has made.
    ///
    /// # Safety
    ///
    /// The file is pinned, and the pin is the caller's.
    pub(crate) unsafe fn from_raw(lockd: &'a Lockd, raw: NonNull<nlm_file>) -> Self {
        // INVARIANT: The pin is the value's from now on.
        NlmFile { raw, lockd }
    }

    /// lockd.
    pub(crate) fn lockd(&self) -> &'a Lockd {
        self.lockd
    }

    /// The file.
    pub(crate) fn as_ptr(&self) -> *mut nlm_file {
        self.raw.as_ptr()
    }

    fn listed(&self) -> Listed<'_> {
        // INVARIANT: It is pinned as long as it is borrowed.
        Listed(self.raw, PhantomData)
    }

    /// Where it is, as a net namespace's exports are. Does not sleep.
    pub(crate) fn place(&self, net: Net<'_>) -> Place {
        self.listed().place(net)
    }

    /// The open files that its locks are set on, by access mode; null where there is none.
    pub(crate) fn opens(&self) -> [*mut private::file; 2] {
        self.listed().opens()
    }

    /// An open file of it. lockd has at least one for each file in its table.
    pub(crate) fn any_open(&self) -> OpenFile<'_> {
        self.listed().any_open()
    }

    /// Its inode, which is there as long as this is borrowed.
    pub(crate) fn inode(&self) -> *mut private::inode {
        self.any_open().inode_ptr()
    }

    /// Its path.
    pub(crate) fn path(&self) -> PathRef {
        self.any_open().path()
    }

    /// The link to its first share, which lockd, too, changes in one go.
    fn shares(&self) -> &AtomicPtr<lockd_share> {
        // SAFETY: The file is pinned; the address of a field.
        unsafe { AtomicPtr::from_ptr(addr_of_mut!((*self.as_ptr()).f_shares)) }
    }

    /// Where the link to its first share is.
    pub(crate) fn share_link(&self) -> *mut *mut lockd_share {
        self.shares().as_ptr()
    }

    /// Its first share, or null.
    pub(crate) fn first_share(&self) -> *mut lockd_share {
        self.shares().load(Ordering::Relaxed)
    }

    /// Has it shares?
    pub(crate) fn has_shares(&self) -> bool {
        !self.first_share().is_null()
    }

    /// Its `f_mutex`. May sleep.
    pub(crate) fn lock(&self) -> FileLock<'_> {
        // INVARIANT: The mutex is the file's, and its guard is in the value.
        FileLock {
            // SAFETY: The file is pinned for as long as `self` is borrowed, and its mutex is in it.
            _guard: unsafe { MutexGuard::new(addr_of_mut!((*self.as_ptr()).f_mutex)) },
            file: self,
        }
    }

    /// Does somebody else than its blocked locks and us use it? May sleep.
    pub(crate) fn is_in_use(&self) -> bool {
        let table = self.lockd.table_lock();
        self.lock().is_in_use(&table)
    }
}

/// A file's `f_mutex`, held.
///
/// # Invariants
///
/// This thread holds the mutex of the file, which is pinned.
pub(crate) struct FileLock<'a> {
    _guard: MutexGuard,
    file: &'a NlmFile<'a>,
}

impl FileLock<'_> {
    /// The file's blocked locks. Each has a reference, and thus is valid, while the lock is held:
    /// one that loses its last reference leaves the list under it (`nlmsvc_free_block()`).
    pub(crate) fn blocks(&self) -> impl Iterator<Item = *mut nlm_block> + '_ {
        // SAFETY: The list is in the file, which is pinned, and changes under its lock, which is held
        // while the iterator is there. The nodes are in blocks.
        unsafe {
            list_entries(addr_of_mut!((*self.file.as_ptr()).f_blocks))
                .map(|node| kernel::container_of!(node, nlm_block, b_flist))
        }
    }

    /// Does somebody else than its blocked locks and us use the file? Whoever is not counted does
    /// not look at its shares, and comes there through the table only.
    pub(crate) fn is_in_use(&self, _table: &TableLock<'_>) -> bool {
        // SAFETY: The file is pinned; both locks that its count changes under are held.
        let users = unsafe { (*self.file.as_ptr()).f_count };
        users as usize != self.blocks().count() + 1
    }
}

impl Drop for NlmFile<'_> {
    fn drop(&mut self) {
        let file = self.as_ptr();
        {
            let _table = self.lockd.table_lock();
            let _lock = self.lock();
            // SAFETY: The pin is ours, and goes; both of the file's locks are held. What nothing else
            // needs leaves the table, as by `nlm_release_file()`, `nlm_file_inuse()` and
            // `nlm_delete_file()`.
            unsafe {
                (*file).f_count -= 1;
                if (*file).f_count != 0 || self.has_shares() || self.has_nlm_locks() {
                    return;
                }
                let node = addr_of_mut!((*file).f_list);
                *(*node).pprev = (*node).next;
                if !(*node).next.is_null() {
                    (*(*node).next).pprev = (*node).pprev;
                }
            }
        }
        // SAFETY: Nobody else has the file, as it is not in the table and nobody was counted as its user.
        // So it is ours, with its references to open files; `fclose` of nfsd's operations is `fput()`
        // (`include/linux/lockd/bind.h`). `nlm_lookup_file()` allocated it.
        unsafe {
            for open in self.opens().into_iter().filter(|open| !open.is_null()) {
                private::fput(open);
            }
            bindings::kfree(file.cast());
        }
    }
}

/// The length of lockd's grace period in a net namespace, in seconds
/// (`get_lockd_grace_period()`).
pub(crate) fn grace_seconds(nfsd: Nfsd<'_>) -> u32 {
    // SAFETY: lockd is loaded with nfsd, and keeps this for the namespace; what sysctl may change is read in one
    // go.
    unsafe {
        let own = nfsd.lockd_net();
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
