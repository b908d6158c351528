// SPDX-License-Identifier: GPL-2.0

//! Who may have a file delegated: nobody who writes while another client has it open (RFC 8881, 10.4).
//!
//! nfsd looks for others that write only (`nfsd4_check_conflicting_opens()`). Under a delegation a client locks by itself
//! what another, which has the file open for reading, has read locks on. Clients that have a delegation for reading give that
//! back first; one that wants none, as an edge, does not.
//!
//! C source: `nfs4_set_delegation()` in `fs/nfsd/nfs4state.c`.

use crate::base::private;
use crate::base::raw::{list_entries, SpinGuard};
use core::mem::offset_of;
use core::ptr::{self, addr_of_mut};

/// Where a stateid has its place in the list of its file's.
const NODE: usize = offset_of!(private::nfs4_ol_stateid, st_perfile);

/// The bits of an access map for `OPEN4_SHARE_ACCESS_WRITE` and `_BOTH` (`set_access()`).
const WRITE_BITS: u8 = 1 << 2 | 1 << 3;

/// Has another client than that of a stateid its file open, while that one writes, by what it is to have (`writes`) or by what it
/// has? Takes the file's `fi_lock`; does not sleep.
///
/// One that is open for reading only counts, too, as under a delegation for reading the Linux client locks by itself what
/// it has open, for writing as well (`_nfs4_proc_setlk()` in `fs/nfs/nfs4proc.c`).
///
/// # Safety
///
/// The stateid is one of a file, and the caller has a reference to it.
pub(crate) unsafe fn is_shared(stateid: *mut private::nfs4_stid, writes: bool) -> bool {
    // SAFETY: The stateid keeps its client, and its file, whose lock nfsd takes in process context. What is in the file's list
    // is there under that lock; its client is only compared.
    unsafe {
        let client = (*stateid).sc_client;
        let file = (*stateid).sc_file;
        let _lock = SpinGuard::new(addr_of_mut!((*file).fi_lock));
        // By another handle others may have it open that are not in this list.
        let mut others = (*file).fi_aliased;
        let mut own = writes;
        for node in list_entries(addr_of_mut!((*file).fi_stateids)) {
            if others && own {
                break;
            }
            let one: *mut private::nfs4_ol_stateid = node.wrapping_byte_sub(NODE).cast();
            match ptr::eq((*one).st_stid.sc_client, client) {
                true => own |= (*one).st_access_bmap & WRITE_BITS != 0,
                false => others = true,
            }
        }
        others && own
    }
}
