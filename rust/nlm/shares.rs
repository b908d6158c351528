// SPDX-License-Identifier: GPL-2.0

//! Share reservations (NLM_SHARE, X/Open's DOS sharing).
//!
//! C source: `fs/lockd/svcshare.c`. lockd's thread changes a file's list without a lock, while
//! it is counted as a user of the file; whoever holds `nlm_file_mutex` and sees no user has the
//! list for itself.

use crate::base::amount::Amount;
use crate::base::private::{lockd_share, nlm_file};
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::nlm::lockd::{Lockd, NlmFile, TableLock};
use core::net::IpAddr;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;

/// A share that belongs to no file any more.
///
/// # Invariants
///
/// The share is in no list, and nobody else has it.
pub(crate) struct Share {
    raw: NonNull<lockd_share>,
    /// The file whose it was, to compare.
    file: *const nlm_file,
    client: Option<IpAddr>,
    amount: Amount,
}

impl Share {
    /// Was it one of this file's?
    pub(crate) fn is_of(&self, file: &NlmFile<'_>) -> bool {
        ptr::eq(self.file, file.as_ptr())
    }

    /// How much it was.
    pub(crate) fn amount(&self) -> Amount {
        self.amount
    }

    /// The address of the client whose it was.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // SAFETY: It is ours alone, and in no list; `nlmsvc_share_file()` allocated it, in one piece
        // with its owner's name.
        unsafe { bindings::kfree(self.raw.as_ptr().cast()) };
    }
}

/// Files that nobody uses, nor comes to use.
///
/// # Invariants
///
/// The table's lock is held, and each of the files had no user since it was: so nobody else looks
/// at their shares.
struct IdleFiles<'a> {
    files: &'a [&'a NlmFile<'a>],
    _table: TableLock<'a>,
}

impl<'a> IdleFiles<'a> {
    /// The files, if nobody uses them; if not, the position of the first that somebody uses.
    /// May sleep.
    fn new(lockd: &'a Lockd, files: &'a [&'a NlmFile<'a>]) -> Result<Self, usize> {
        let table = lockd.table_lock();
        match files.iter().position(|file| file.lock().is_in_use(&table)) {
            Some(at) => Err(at),
            // INVARIANT: None was in use under this lock, and who wants to use one needs it.
            None => Ok(IdleFiles {
                files,
                _table: table,
            }),
        }
    }

    /// The shares: of each the host, and how much it is.
    fn shares(&self) -> impl Iterator<Item = (Host<'_>, Amount)> {
        self.files.iter().flat_map(|file| {
            let mut next = file.first_share();
            core::iter::from_fn(move || {
                // SAFETY: The list does not change, as nobody else looks at it, and who changes it by
                // this type has it borrowed. A share in a file has a host, which lockd keeps for it.
                let (host, amount, after) = unsafe {
                    let share = next.as_ref()?;
                    (Host::new(share.s_host), amount(share), share.s_next)
                };
                next = after;
                Some((host, amount))
            })
        })
    }

    /// Takes the wanted shares from the files. Their clients stay monitored and known.
    ///
    /// Fails if `shares` has no room for a share and gets none.
    fn take(&mut self, want: impl Fn(Host<'_>) -> bool, shares: &mut KVVec<Share>) -> Result {
        for file in self.files {
            let mut link = file.share_link();
            loop {
                // SAFETY: Nobody else looks at the list. The link is the file's, or that of a share in it,
                // and leads to a share or is the end. A share in a file has a host, which lockd keeps.
                let (raw, client, amount) = unsafe {
                    let Some(raw) = NonNull::new(*link) else {
                        break;
                    };
                    let next = addr_of_mut!((*raw.as_ptr()).s_next);
                    let host = Host::new((*raw.as_ptr()).s_host);
                    if !want(host) {
                        link = next;
                        continue;
                    }
                    host.handle().keep_monitored();
                    clients::remember(host, &file.place(host.net()));
                    let client = host.client();
                    *link = *next;
                    (raw, client, amount(raw.as_ref()))
                };
                // INVARIANT: No link leads to it any more, and nobody else looks at the list.
                let share = Share {
                    raw,
                    file: file.as_ptr(),
                    client,
                    amount,
                };
                shares.push(share, GFP_KERNEL)?;
            }
        }
        Ok(())
    }
}

/// Takes the wanted shares from all of the files, or none. Fails with `ENOMEM`, and with the
/// position of the first file that somebody uses. May sleep.
pub(crate) fn take(
    lockd: &Lockd,
    files: &[&NlmFile<'_>],
    want: impl Fn(Host<'_>) -> bool,
) -> Result<Result<KVVec<Share>, usize>> {
    let mut shares = KVVec::new();
    loop {
        let count = match IdleFiles::new(lockd, files) {
            Ok(mut idle) => {
                let count = idle.shares().filter(|(host, _)| want(*host)).count();
                if count <= shares.capacity() {
                    idle.take(&want, &mut shares)?;
                    return Ok(Ok(shares));
                }
                count
            }
            Err(at) => return Ok(Err(at)),
        };
        shares = KVVec::with_capacity(count, GFP_KERNEL)?;
    }
}

/// How much a share is. (7.2 knows of the modes that an owner asked for the last ones only.)
fn amount(share: &lockd_share) -> Amount {
    Amount::of_modes(share.s_access, share.s_mode)
}

/// The shares of a file: of each the host, and how much it is. May sleep.
///
/// Somebody who uses the file may change them meanwhile: it then counts as without any.
pub(crate) fn count(file: &NlmFile<'_>, mut each: impl FnMut(Host<'_>, Amount)) {
    if let Ok(idle) = IdleFiles::new(file.lockd(), &[file]) {
        idle.shares().for_each(|(host, amount)| each(host, amount));
    }
}
