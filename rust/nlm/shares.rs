// SPDX-License-Identifier: GPL-2.0

//! Share reservations (NLM_SHARE, X/Open's DOS sharing).
//!
//! C source: `fs/lockd/svcshare.c`. lockd's thread changes a file's list without a lock, while
//! it is counted as a user of the file; whoever holds `nlm_file_mutex` and sees no user has the
//! list for itself.

use crate::base::private::lockd_share;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::nlm::lockd::{table_lock, NlmFile};
use crate::scopes::scope::Fsid;
use core::net::IpAddr;
use core::ptr::{addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;

/// A share that belongs to no file any more.
pub(crate) struct Share {
    raw: NonNull<lockd_share>,
    client: Option<IpAddr>,
}

impl Share {
    /// Takes a share from a file, whose client stays monitored and known.
    ///
    /// # Safety
    ///
    /// `link` points to a share, whose file has no user, and `nlm_file_mutex` is held.
    unsafe fn unlink(link: *mut *mut lockd_share, fsid: Option<Fsid>) -> Self {
        // SAFETY: By this function's requirement; a share in a file has a host.
        unsafe {
            let raw = NonNull::new_unchecked(*link);
            *link = raw.as_ref().s_next;
            let host = Host::new(raw.as_ref().s_host);
            host.keep_monitored();
            if let Some(fsid) = fsid {
                clients::remember(host, fsid);
            }
            let client = host.client();
            Share { raw, client }
        }
    }

    /// Was it one of this file's?
    pub(crate) fn is_of(&self, file: &NlmFile) -> bool {
        // SAFETY: The share is ours. The pointer, which is only compared, never changes.
        unsafe { self.raw.as_ref().s_file == file.as_ptr() }
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

/// Takes the wanted shares from all of the files, or none. Fails with `ENOMEM`, and with the
/// position of the first file that somebody uses. May sleep.
pub(crate) fn take(
    files: &[&NlmFile],
    want: impl Fn(Host<'_>) -> bool,
) -> Result<Result<KVVec<Share>, usize>> {
    let mut shares = KVVec::new();
    loop {
        let mut count = 0;
        {
            let table = table_lock();
            for (at, file) in files.iter().enumerate() {
                if file.is_in_use_locked(&table) {
                    return Ok(Err(at));
                }
                // SAFETY: The file has no user, and gets none while the table's lock is held.
                count += unsafe { wanted(file, &want) }.count();
            }
            if count <= shares.capacity() {
                for file in files {
                    // SAFETY: None of the files has a user, as the table's lock was held all the time.
                    for link in unsafe { wanted(file, &want) } {
                        // SAFETY: The link is one of `wanted()`, and nobody else uses the list.
                        let share = unsafe { Share::unlink(link, file.fsid()) };
                        shares.push(share, GFP_KERNEL)?;
                    }
                }
                return Ok(Ok(shares));
            }
        }
        shares = KVVec::with_capacity(count, GFP_KERNEL)?;
    }
}

/// The links to the wanted shares of a file. One that was returned may be unlinked.
///
/// # Safety
///
/// The file has no user, and gets none while the iterator is in use: `nlm_file_mutex` is held.
unsafe fn wanted<'a>(
    file: &'a NlmFile,
    want: &'a impl Fn(Host<'_>) -> bool,
) -> impl Iterator<Item = *mut *mut lockd_share> + 'a {
    // SAFETY: The file is pinned.
    let mut link = unsafe { addr_of_mut!((*file.as_ptr()).f_shares) };
    let mut returned: Option<*mut lockd_share> = None;
    core::iter::from_fn(move || loop {
        // SAFETY: By this function's requirement; a link leads to a share of this file or is its end,
        // and a share in a file has a host.
        unsafe {
            // Past the share that was returned, unless it was unlinked.
            if returned.take().is_some_and(|share| share == *link) {
                link = addr_of_mut!((**link).s_next);
            }
            let share = *link;
            if share.is_null() {
                return None;
            }
            if want(Host::new((*share).s_host)) {
                returned = Some(share);
                return Some(link);
            }
            link = addr_of_mut!((*share).s_next);
        }
    })
}

/// The number of shares of a file, by host. May sleep.
///
/// Somebody who uses the file may change them meanwhile: it then counts as without any.
pub(crate) fn count(file: &NlmFile, mut each: impl FnMut(Host<'_>)) {
    let table = table_lock();
    if file.is_in_use_locked(&table) {
        return;
    }
    // SAFETY: The file has no user, and gets none while the table's lock is held; a share has a host.
    unsafe {
        let mut share = (*file.as_ptr()).f_shares;
        while !share.is_null() {
            each(Host::new((*share).s_host));
            share = (*share).s_next;
        }
    }
}
