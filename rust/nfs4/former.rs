// SPDX-License-Identifier: GPL-2.0

//! A former self: a client of NFSv4.1 or later that has rebooted, with all that it had open and locked.
//!
//! nfsd has taken it out of its tables, so nobody uses its stateids any more; its opens and locks are where they were, in
//! nfsd's files and in the inodes. What the new self reclaims it gets from here.

use crate::base::clock::since_boot;
use crate::base::index::KeyedHash;
use crate::base::net::Net;
use crate::base::private;
use crate::base::siphash::SipHash;
use crate::base::tasks;
use crate::nfs4::client_table::ClientTable;
use crate::nfs4::lock_owner::{LockOwner, NfsdFile};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::stateids::{Kind, Part, Stateid};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::prelude::*;

const SECOND: i64 = 1_000_000_000;

/// How many locks have changed hands, and of how many of the first of them who saw the files before is waited for: once for all
/// that end together.
static GIVEN: AtomicU64 = AtomicU64::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);

/// The files that a client has open, or had delegated, by the hashes of their handles; sorted.
struct Files {
    key: SipHash,
    hashes: KVVec<u64>,
}

impl Files {
    /// Those of a client whose stateids nobody changes. Fails with `ENOMEM`. May sleep; takes `cl_lock`.
    fn of(client: &Nfs4Client) -> Result<Self> {
        let key = SipHash::random();
        let mut hashes = KVVec::with_capacity(16, GFP_KERNEL)?;
        let mut next = Some(0);
        while let Some(first) = next.take() {
            let part = client.lock_state().find_part(first, |number, stateid| {
                if is_of_file(&stateid) {
                    if hashes.len() == hashes.capacity() {
                        return Some(number);
                    }
                    // There is room, so this does not fail.
                    stateid.with_handle(|handle| hashes.push(key.hash(handle), GFP_ATOMIC));
                }
                None
            });
            next = match part {
                Part::Found(number) | Part::More(number) => Some(number),
                Part::End => None,
            };
            if hashes.len() == hashes.capacity() {
                hashes.reserve(hashes.len(), GFP_KERNEL)?;
            }
        }
        hashes.sort_unstable();
        Ok(Files { key, hashes })
    }

    fn has(&self, handle: &[u8]) -> bool {
        self.hashes.binary_search(&self.key.hash(handle)).is_ok()
    }
}

/// Is it one by which a file can be reclaimed with an OPEN?
fn is_of_file(stateid: &Stateid<'_>) -> bool {
    match stateid.kind() {
        Some(Kind::Open) => true,
        Some(Kind::Delegation) => !stateid.is_of_directory(),
        _ => false,
    }
}

/// A client in no table of nfsd, which is ours to free: dropping it ends all that it holds. That may sleep.
///
/// # Invariants
///
/// It is valid, nobody else frees it, and its server does not stop before it is dropped.
struct Gone(NonNull<private::nfs4_client>);

// SAFETY: Any thread may free it.
unsafe impl Send for Gone {}

impl Deref for Gone {
    type Target = Nfs4Client;

    fn deref(&self) -> &Nfs4Client {
        // SAFETY: It is valid as long as it is ours, by the type's invariant.
        unsafe { Nfs4Client::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        // SAFETY: It is ours, and its server is there.
        unsafe { private::expire_client(self.0.as_ptr()) };
    }
}

/// Rests at most, of a former self: who reclaims a lock in more parts is refused.
pub(crate) const MAX_RESTS: usize = 1_024;

/// What the new self's lock owner has locked since it reclaimed a part of a lock, and has not reclaimed. It goes before the owner's
/// client does.
pub(crate) struct Rest {
    pub(crate) owner: LockOwner,
    pub(crate) file: NfsdFile,
    pub(crate) range: (i64, i64),
    pub(crate) is_write: bool,
}

/// A former self.
pub(crate) struct FormerSelf {
    /// No other has it.
    pub(crate) number: u64,
    pub(crate) rests: KVec<Rest>,
    client: Gone,
    files: Files,
    /// A number that all clients of this name have.
    hash: u64,
    /// Since when it is one, and until when nobody has to have reclaimed anything: [`since_boot`].
    began: i64,
    until: i64,
    lease: i64,
    /// LOCKs that are about it: it does not end meanwhile.
    pub(crate) users: usize,
    /// Somebody has what it holds revoked: it does not end meanwhile, and nothing changes hands.
    pub(crate) is_revoked: bool,
    /// Which was the last lock that was set through its open files and has changed hands: see [`GIVEN`]; 0 if there is none.
    given: u64,
}

impl FormerSelf {
    /// What is to be remembered of a client that nfsd is about to free, and has taken out of its tables; nothing if it had no
    /// file open. Fails with `ENOMEM`. May sleep; takes `cl_lock`.
    pub(crate) fn prepare(client: &Nfs4Client) -> Result<Option<Prepared>> {
        let files = Files::of(client)?;
        Ok(Some(Prepared(files)).filter(|prepared| !prepared.0.hashes.is_empty()))
    }

    /// A former self that begins now. Does not sleep.
    ///
    /// # Safety
    ///
    /// The client is in no table of its server, and the caller's to free; it is this one's from now on. The server does not
    /// stop before this is dropped.
    pub(crate) unsafe fn new(
        client: &Nfs4Client,
        prepared: Prepared,
        number: u64,
        hash: u64,
    ) -> Self {
        let now = since_boot();
        let lease = i64::from(NfsdNet::of(client.nfsd()).lease_seconds()) * SECOND;
        FormerSelf {
            number,
            rests: KVec::new(),
            // INVARIANT: By this function's requirement.
            client: Gone(NonNull::from(client).cast()),
            files: prepared.0,
            hash,
            began: now,
            until: now + lease,
            lease,
            users: 0,
            is_revoked: false,
            given: 0,
        }
    }

    /// The client, which nobody frees as long as this is there.
    pub(crate) fn client(&self) -> &Nfs4Client {
        &self.client
    }

    /// Is it of a namespace?
    pub(crate) fn is_in(&self, net: Net<'_>) -> bool {
        self.client.nfsd().net() == net
    }

    /// Is it one of this client, as its name and its credentials say? `hash` is that of the name.
    pub(crate) fn is_of(&self, client: &Nfs4Client, hash: u64) -> bool {
        self.hash == hash
            && client.minor_version() != 0
            && self.is_in(client.nfsd().net())
            && self.client.name() == client.name()
            && self.client.has_credentials_of(client)
    }

    /// Had it the file of this handle open?
    pub(crate) fn had(&self, handle: &[u8]) -> bool {
        self.files.has(handle)
    }

    /// Looks anew which files it has open, as some were taken from it. Without any, or without memory, it is about to end. May
    /// sleep; takes `cl_lock`.
    pub(crate) fn look_again(&mut self) {
        match Files::of(&self.client) {
            Ok(files) => self.files = files,
            Err(_) => self.files.hashes.clear(),
        }
        if self.files.hashes.is_empty() {
            self.until = 0;
        }
    }

    /// Something of it was reclaimed: it stays for another lease, but for two in all at most.
    pub(crate) fn reclaimed(&mut self) {
        self.until = (since_boot() + self.lease).min(self.began + 2 * self.lease);
    }

    /// A lock that was set through one of its files has changed hands.
    pub(crate) fn gives(&mut self) {
        self.given = 1 + GIVEN.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing more changes hands, and its files are about to be closed. May sleep.
    pub(crate) fn wait_for_readers(&self) {
        if self.given > WAITED.load(Ordering::Acquire) {
            let given = GIVEN.load(Ordering::Acquire);
            tasks::synchronize_rcu();
            WAITED.fetch_max(given, Ordering::AcqRel);
        }
    }

    /// When it ends by itself: [`since_boot`].
    pub(crate) fn until(&self) -> i64 {
        self.until
    }

    /// For how long it was one, in milliseconds.
    pub(crate) fn age(&self) -> i64 {
        (since_boot() - self.began) / 1_000_000
    }

    /// Unlocks what was not reclaimed of locks that were reclaimed in part, as far as `is_it`. May sleep.
    pub(crate) fn unlock_rests(&mut self, is_it: impl Fn(&Rest) -> bool) {
        self.rests.retain(|rest| {
            let goes = is_it(rest);
            if goes {
                if let Err(e) = rest.file.unlock(&rest.owner, rest.range) {
                    pr_err!("what was not reclaimed of a lock stays locked: {e:?}\n");
                }
            }
            !goes
        });
    }
}

/// The record of a client that is kept is its new self's from now on: freeing it would remove that. May sleep; takes
/// `client_lock`.
pub(crate) fn pass_on_record(client: &Nfs4Client) {
    if !client.is_stable() {
        return;
    }
    // SAFETY: A thread of the server works on a request, so it does not stop.
    let table = unsafe { ClientTable::lock(NfsdNet::of(client.nfsd())) };
    if let Some(new) = table.with_name(client.name()) {
        new.set_stable(true);
        client.set_stable(false);
    }
}

/// What was prepared for a former self.
pub(crate) struct Prepared(Files);
