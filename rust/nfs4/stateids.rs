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
use crate::base::raw::{list_entries, unlink, SpinGuard};
use crate::nfs4::lock_owner::{LockOwner, NfsdFile};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::scopes::exported;
use crate::scopes::place::Place;
use crate::scopes::scope::Fsid;
use crate::scopes::svc_export::{ExportRef, SvcExport};
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;
use kernel::container_of;

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

    /// The client's stateid with a number.
    pub(crate) fn with_number(&self, number: u32) -> Option<Stateid<'_>> {
        let number = number as usize;
        let next = self.stateids_from(number).next();
        next.filter(|(found, _)| *found == number)
            .map(|(_, stateid)| stateid)
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

/// How far a look at a client's stateids has come.
pub(crate) enum Part<R> {
    /// It has found this.
    Found(R),
    /// Nothing so far: it goes on with this number, when the lock was let go of.
    More(usize),
    /// There is nothing.
    End,
}

/// Stateids that are looked at in one go.
const PART: usize = 4_096;

impl StateLock<'_> {
    /// What `f` finds in the stateids from a number on, of which some thousand are looked at.
    pub(crate) fn find_part<R>(
        &self,
        first: usize,
        mut f: impl FnMut(usize, Stateid<'_>) -> Option<R>,
    ) -> Part<R> {
        for (at, (number, stateid)) in self.stateids_from(first).enumerate() {
            if at == PART {
                return Part::More(number);
            }
            if let Some(found) = f(number, stateid) {
                return Part::Found(found);
            }
        }
        Part::End
    }
}

impl Nfs4Client {
    /// What `f` finds in its stateids from a number on, which becomes the one to go on with. Takes its `cl_lock`, again and
    /// again if there are many.
    pub(crate) fn find_next<R>(
        &self,
        from: &mut usize,
        mut f: impl FnMut(&Stateid<'_>) -> Option<R>,
    ) -> Option<R> {
        loop {
            let part = self.lock_state().find_part(*from, |number, stateid| {
                f(&stateid).map(|found| (number + 1, found))
            });
            match part {
                Part::Found((next, found)) => {
                    *from = next;
                    return Some(found);
                }
                Part::More(next) => *from = next,
                Part::End => return None,
            }
        }
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

    /// Calls `f` with the handle of its file, if it has one. Does not sleep.
    pub(crate) fn with_handle<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        // SAFETY: A stateid has a reference to its file, if it has one. The handle does not change, and is as long as it
        // says.
        unsafe {
            let file = NonNull::new((&raw const (*self.0.as_ptr()).sc_file).read_volatile())?;
            let handle = &(*file.as_ptr()).fi_fhandle;
            Some(f(handle.fh_raw.get(..handle.fh_size as usize)?))
        }
    }

    /// That of a lock owner's locks on the file that this one has open; `owner` as the client names it. Does not sleep.
    pub(crate) fn locks_of(&self, owner: &[u8]) -> Option<Stateid<'_>> {
        if self.kind() != Some(Kind::Open) {
            return None;
        }
        let raw: *mut private::nfs4_ol_stateid = self.0.as_ptr().cast();
        // SAFETY: A stateid of an open begins with what they have in common. It has a list of its stateids of locks, which
        // changes under the lock of their client; each of them has its owner, whose name is as long as it says.
        let found = unsafe {
            list_entries(addr_of_mut!((*raw).st_locks)).find_map(|node| {
                let lock = container_of!(node, private::nfs4_ol_stateid, st_locks);
                let name = &(*(*lock).st_stateowner).so_owner;
                let name = core::slice::from_raw_parts(name.data, name.len as usize);
                (name == owner).then(|| NonNull::new_unchecked(lock.cast()))
            })
        };
        // INVARIANT: It is in the table of the same client.
        found.map(|found| Stateid(found, self.1))
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

    /// The file system of its file (`find_one_sb_stid()`), to be compared. It is something.
    pub(crate) fn file_system(&self) -> *const private::super_block {
        // SAFETY: One that is something has its file, whose inode is there.
        unsafe { (*(*(*self.0.as_ptr()).sc_file).fi_inode).i_sb }
    }

    /// Was it made through the export of a path (`find_one_export_stid()`)?
    pub(crate) fn is_through(&self, path: &private::path) -> bool {
        let Some(export) = NonNull::new(self.fields().export) else {
            return false;
        };
        // SAFETY: It keeps its export, if it has one, as long as its client's lock is held.
        let own = unsafe { &(*export.as_ptr()).ex_path };
        ptr::eq(own.mnt, path.mnt) && ptr::eq(own.dentry, path.dentry)
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

    /// What a LOCK with it is about, for writing or for reading, if it is one of locks and its file is open for that
    /// (`find_writeable_file_locked()`). Takes the file's `fi_lock`; does not sleep.
    pub(crate) fn lock_target<'k>(
        &self,
        client: &'k Nfs4Client,
        is_write: bool,
    ) -> Option<LockTarget<'k>> {
        if self.kind() != Some(Kind::Lock) || !ptr::eq(self.1, client) {
            return None;
        }
        let raw: *mut private::nfs4_ol_stateid = self.0.as_ptr().cast();
        // SAFETY: A stateid of locks begins with what they have in common. It has a reference to its owner, of the same client,
        // and to its file, whose lock nfsd takes in process context. What that has open has a reference as long as the lock
        // is held.
        unsafe {
            let owner = NonNull::new((*raw).st_stateowner)?;
            let file = {
                let file = (*raw).st_stid.sc_file;
                let _lock = SpinGuard::new(addr_of_mut!((*file).fi_lock));
                let [readable, writable, both] = (*file).fi_fds;
                let one = if is_write { writable } else { readable };
                let open = NonNull::new(one).or(NonNull::new(both))?;
                NfsdFile::get(open)?
            };
            Some(LockTarget {
                // It is one of this client, and something, so this does not fail: nothing may be dropped here.
                stateid: self.pin(client)?,
                owner: LockOwner::get(owner),
                file,
            })
        }
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

/// What a LOCK is about: the stateid of locks, whose owner it is, and the file that is open for it.
pub(crate) struct LockTarget<'k> {
    pub(crate) stateid: PinnedStateid<'k>,
    pub(crate) owner: LockOwner,
    pub(crate) file: NfsdFile,
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

    /// Has it revoked, as by an admin. May sleep; takes its client's `cl_lock`, and its own mutex.
    ///
    /// # Safety
    ///
    /// Its client is this one.
    pub(crate) unsafe fn revoke(&self, client: &Nfs4Client) {
        let nn = NfsdNet::of(client.nfsd());
        // SAFETY: The client is valid, so its server's state is there; it is that of the stateid, which is pinned.
        unsafe { private::revoke_one_stid(nn.as_ptr(), client.as_ptr(), self.as_ptr()) };
    }

    /// The reference, for [`PinnedStateid::from_raw`].
    pub(crate) fn into_raw(self) -> NonNull<private::nfs4_stid> {
        ManuallyDrop::new(self).0
    }

    /// A reference again.
    ///
    /// # Safety
    ///
    /// It was made by [`PinnedStateid::into_raw`], is used once, and its client stays for the lifetime.
    pub(crate) unsafe fn from_raw(raw: NonNull<private::nfs4_stid>) -> Self {
        // INVARIANT: By this function's requirement.
        PinnedStateid(raw, PhantomData)
    }
}

impl Drop for PinnedStateid<'_> {
    fn drop(&mut self) {
        // SAFETY: The reference is not used any more, and its client, whose lock this takes, is there.
        unsafe { private::nfs4_put_stid(self.0.as_ptr()) };
    }
}
