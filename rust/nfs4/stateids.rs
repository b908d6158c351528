// SPDX-License-Identifier: GPL-2.0

//! The stateids of an NFSv4 client, under its `cl_lock`.
//!
//! C source: `struct nfs4_stid` in `fs/nfsd/state.h`; `check_for_locks()` in `fs/nfsd/nfs4state.c`.
//!
//! Lock order, as there: `client_lock`, `cl_lock`, a file's `fi_lock`, the `flc_lock` of its inode.

use crate::base::amount::Amount;
use crate::base::net::Net;
use crate::base::posix_locks::LockList;
use crate::base::private;
use crate::base::raw::{unlink, SpinGuard};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::scopes::exported;
use crate::scopes::place::Place;
use crate::scopes::scope::Fsid;
use crate::scopes::svc_export::{ExportRef, SvcExport};
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;

/// A client whose `cl_lock` is held, which guards its stateids, its sessions and their connections: no
/// sleeping.
///
/// # Invariants
///
/// The lock is held from when this is made until it is dropped.
pub(crate) struct StateLock<'a> {
    client: &'a Nfs4Client,
    _lock: SpinGuard,
}

impl Nfs4Client {
    /// Takes its `cl_lock`, which the caller must not have.
    pub(crate) fn lock_state(&self) -> StateLock<'_> {
        // SAFETY: The lock is as valid as the client. nfsd takes it in process context only.
        let lock = unsafe { SpinGuard::new(addr_of_mut!((*self.as_ptr()).cl_lock)) };
        // INVARIANT: It was taken just now.
        StateLock {
            client: self,
            _lock: lock,
        }
    }
}

impl StateLock<'_> {
    /// The client: what its lock guards stays as long as this is borrowed.
    pub(crate) fn client(&self) -> *mut private::nfs4_client {
        self.client.as_ptr()
    }

    /// The client's stateids.
    pub(crate) fn stateids(&self) -> impl Iterator<Item = Stateid<'_>> {
        self.stateids_from(0).map(|(_, stateid)| stateid)
    }

    /// The client's stateids from a number on, each with its own.
    pub(crate) fn stateids_from(&self, first: usize) -> impl Iterator<Item = (usize, Stateid<'_>)> {
        let client = self.client();
        let mut id = first;
        core::iter::from_fn(move || {
            // SAFETY: The lock, under which the table changes, is held as long as the iterator is there.
            let next = unsafe {
                private::idr_get_next_ul(addr_of_mut!((*client).cl_stateids), &raw mut id)
            };
            // INVARIANT: A stateid in the table is valid. Before it is freed, it leaves that under the lock.
            let stateid = Stateid(NonNull::new(next.cast())?, self.client);
            let number = id;
            id += 1;
            Some((number, stateid))
        })
    }
}

/// What a stateid is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Lock,
    Delegation,
    Layout,
}

/// `S_IFMT` and `S_IFDIR` (`include/uapi/linux/stat.h`).
const FORMAT: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;

/// How many locks may still be looked at. A stateid of locks is that of an owner and a file, and all of the file's
/// locks are looked at for it, under spinlocks: with many owners on one file that would take long.
pub(crate) struct Steps(usize);

impl Steps {
    /// For what is shown of all clients.
    pub(crate) fn of_listing() -> Self {
        Steps(250_000)
    }

    /// For one client.
    pub(crate) fn of_client() -> Self {
        Steps(100_000)
    }

    /// One of them, if there is one left.
    fn take(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

/// A stateid (`struct nfs4_stid`).
///
/// # Invariants
///
/// It is in the table of this client, whose `cl_lock` is held, for `'a`. It may be so new that all of it is zero:
/// `nfs4_alloc_stid()` says whose it is after it has let go of the lock. So nobody asks it for its client.
pub(crate) struct Stateid<'a>(NonNull<private::nfs4_stid>, &'a Nfs4Client);

/// What a stateid has that changes under its client's lock.
struct Fields {
    status: u16,
    kind: u16,
    export: *mut private::svc_export,
}

impl Stateid<'_> {
    fn fields(&self) -> Fields {
        let raw = self.0.as_ptr();
        // SAFETY: A valid stateid; its client's lock is held. Its export is set once, in one go, by who makes it.
        unsafe {
            Fields {
                status: (*raw).sc_status,
                kind: (*raw).sc_type,
                export: (&raw const (*raw).sc_export).read_volatile(),
            }
        }
    }

    /// What it is. One that was closed or revoked, or is being made or freed, is nothing any more.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let Fields { status, kind, .. } = self.fields();
        match (status, u32::from(kind)) {
            (0, private::nfsd_ha_stid_NFSD_HA_OPEN) => Some(Kind::Open),
            (0, private::nfsd_ha_stid_NFSD_HA_LOCK) => Some(Kind::Lock),
            (0, private::nfsd_ha_stid_NFSD_HA_DELEG) => Some(Kind::Delegation),
            (0, private::nfsd_ha_stid_NFSD_HA_LAYOUT) => Some(Kind::Layout),
            _ => None,
        }
    }

    /// Is it a delegation of a directory, which nobody reclaims (RFC 8881, 10.9.5)? Takes the file's `fi_lock`; does not sleep.
    pub(crate) fn is_of_directory(&self) -> bool {
        if self.kind() != Some(Kind::Delegation) {
            return false;
        }
        // SAFETY: A stateid keeps its file from when it has one, whose lock nfsd takes in process context. As long as that is
        // delegated, which changes under its lock, its inode is there, of a kind that never changes.
        unsafe {
            let file = (&raw const (*self.0.as_ptr()).sc_file).read_volatile();
            if file.is_null() {
                return false;
            }
            let _lock = SpinGuard::new(addr_of_mut!((*file).fi_lock));
            let inode = (*file).fi_inode;
            !(*file).fi_deleg_file.is_null() && (*inode).i_mode & FORMAT == DIRECTORY
        }
    }

    /// What its open file is used for, and denied to others: one bit each, also if that was said in several OPENs.
    fn modes(&self) -> [u32; 2] {
        let raw: *const private::nfs4_ol_stateid = self.0.as_ptr().cast();
        // SAFETY: A stateid of an open begins with what they have in common. The bits are read in one go.
        let maps = unsafe {
            [
                (&raw const (*raw).st_access_bmap).read_volatile(),
                (&raw const (*raw).st_deny_bmap).read_volatile(),
            ]
        };
        // Each bit of a map is a mode that was asked for, by its number (`bmap_to_share_mode()`).
        let modes = |map: u8| (1..4).filter(move |mode| map >> mode & 1 != 0);
        maps.map(|map| modes(map).fold(0, |all, mode| all | mode))
    }

    /// Calls `f` with the locks of its file, and with who owns those that are of it, if the file is open. Takes the file's
    /// `fi_lock`.
    fn with_locks<R>(&self, f: impl FnOnce(&LockList<'_>, *mut c_void) -> R) -> Option<R> {
        let raw: *mut private::nfs4_ol_stateid = self.0.as_ptr().cast();
        // SAFETY: A stateid of locks begins with what they have in common. It keeps its file, whose lock nfsd takes in
        // process context, and its owner. As long as the file is open, which changes under its lock, its inode is there.
        unsafe {
            let file = (*raw).st_stid.sc_file;
            let _lock = SpinGuard::new(addr_of_mut!((*file).fi_lock));
            if (*file).fi_fds.iter().all(|open| open.is_null()) {
                return None;
            }
            let list = LockList::of((*file).fi_inode)?;
            Some(f(&list, (*raw).st_stateowner.cast()))
        }
    }

    /// The ranges of bytes that are locked with it, and how much they are; nothing if there were no steps left. Does not
    /// sleep.
    fn ranges(&self, steps: &mut Steps) -> Option<(usize, Amount)> {
        let counted = self.with_locks(|list, owner| {
            let (mut ranges, mut amount) = (0, Amount::default());
            for lock in list.locks() {
                steps.take()?;
                if lock.owner == owner {
                    ranges += 1;
                    amount += Amount::of_range(lock.range);
                }
            }
            Some((ranges, amount))
        });
        counted.unwrap_or_default()
    }

    /// The ranges that are locked with it, and how much it is; nothing if there were no steps left. Does not sleep.
    pub(crate) fn measure(&self, steps: &mut Steps) -> Option<(usize, Amount)> {
        match self.kind() {
            Some(Kind::Open) => {
                let [access, deny] = self.modes();
                Some((0, Amount::of_modes(access, deny)))
            }
            Some(Kind::Lock) => self.ranges(steps),
            _ => Some((0, Amount::default())),
        }
    }

    /// Is it no more, but still has an export?
    pub(crate) fn pins(&self) -> bool {
        let fields = self.fields();
        fields.status != 0 && !fields.export.is_null()
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        let raw = self.0.as_ptr();
        // SAFETY: A stateid has references to its export and to its file, if it has them, and loses them under its
        // client's lock. The client is in a namespace that is alive as long as that.
        let (handle, net, export) = unsafe {
            let handle = NonNull::new((*raw).sc_file).and_then(|file| {
                let handle = &(*file.as_ptr()).fi_fhandle;
                Fsid::of_handle(handle.fh_raw.get(..handle.fh_size as usize)?)
            });
            (
                handle,
                Net::from_raw((*self.1.as_ptr()).net),
                SvcExport::from_raw(self.fields().export),
            )
        };
        exported::place_of(net, handle, export)
    }

    /// Has it let go of its export, if it is no more: the reference is the caller's then.
    pub(crate) fn take_export(&self) -> Option<ExportRef> {
        // SAFETY: Who uses the export of a stateid that is no more does so under its client's lock. The
        // reference was the stateid's, which has none from now on.
        self.pins().then(|| unsafe {
            let export = addr_of_mut!((*self.0.as_ptr()).sc_export);
            ExportRef::new(export.replace(ptr::null_mut()))
        })
    }

    /// Has its lock owner forget it, before it is revoked. `nfs4_lockowner_has_blockers()` reads the inode of each that an
    /// owner knows, also of one that was revoked, whose file system may be unmounted by then.
    ///
    /// Does nothing to what is no lock.
    pub(crate) fn leave_owner(&self) {
        if self.kind() != Some(Kind::Lock) {
            return;
        }
        let raw: *mut private::nfs4_ol_stateid = self.0.as_ptr().cast();
        // SAFETY: A stateid of locks begins with what they have in common. One with no status is in its owner's list, which
        // changes under the lock of its client. What takes it from that list later finds a list of itself.
        unsafe { unlink(addr_of_mut!((*raw).st_perstateowner)) };
    }

    /// A reference to it, which keeps it when the lock is gone, as long as somebody keeps `client`; `None` if it is not one
    /// of that client, or is nothing.
    pub(crate) fn pin<'k>(&self, client: &'k Nfs4Client) -> Option<PinnedStateid<'k>> {
        if !ptr::eq(self.1, client) || self.kind().is_none() {
            return None;
        }
        // SAFETY: It is valid, and in its client's table: one that is something has a reference.
        unsafe { bindings::refcount_inc(addr_of_mut!((*self.0.as_ptr()).sc_count).cast()) };
        // INVARIANT: The reference was taken just now, and the client is borrowed.
        Some(PinnedStateid(self.0, PhantomData))
    }
}

/// A reference to a stateid. Dropping it may sleep.
///
/// # Invariants
///
/// The stateid is valid, and the reference is this one's. Its client stays for `'k`.
pub(crate) struct PinnedStateid<'k>(NonNull<private::nfs4_stid>, PhantomData<&'k Nfs4Client>);

impl PinnedStateid<'_> {
    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut private::nfs4_stid {
        self.0.as_ptr()
    }
}

impl Drop for PinnedStateid<'_> {
    fn drop(&mut self) {
        // SAFETY: The reference is not used any more, and its client, whose lock this takes, is there.
        unsafe { private::nfs4_put_stid(self.0.as_ptr()) };
    }
}
