// SPDX-License-Identifier: GPL-2.0

//! The requests that a server's threads work on.
//!
//! C source: `nfsd_nl_rpc_status_get_dumpit()` in `fs/nfsd/nfsctl.c`, which looks at them in the same way.

use crate::base::private::{svc_rqst, svc_serv};
use crate::base::raw::list_entries;
use crate::base::transport::Service;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{fence, AtomicI64, AtomicU32, Ordering};
use kernel::container_of;
use kernel::sync::rcu;

impl Service<'_> {
    /// Does a thread of nfsd's still work on a request of NFSv4 that had begun at a moment, as
    /// [`uptime()`](crate::base::clock::uptime) counts? What all others had been granted by then is there to be seen. Takes a
    /// step for each thread, and does not sleep.
    ///
    /// # Safety
    ///
    /// The server has so many `pools` of threads.
    pub(crate) unsafe fn works_since(&self, pools: usize, moment: i64) -> bool {
        // A thread says that it works on a request before that looks at anything of ours, with many a lock in between.
        fence(Ordering::SeqCst);
        let _guard = rcu::read_lock();
        let server: *mut svc_serv = self.as_ptr();
        // SAFETY: The server is there, by the type's invariant, and so are its pools, of which there are so many. A thread is
        // in the list of its pool, which changes under RCU, while it lives, and is freed after an RCU grace period.
        unsafe {
            let first = (*server).sv_pools;
            (0..pools).any(|at| {
                let threads = addr_of_mut!((*first.add(at)).sp_all_threads);
                list_entries(threads)
                    .any(|node| works_since(container_of!(node, svc_rqst, rq_all), moment))
            })
        }
    }
}

/// Does a thread work on a request that had begun at a moment?
///
/// # Safety
///
/// The thread's `svc_rqst` is valid.
unsafe fn works_since(thread: *mut svc_rqst, moment: i64) -> bool {
    // SAFETY: Words of a valid structure, each of which its thread changes in one go.
    let (counter, began, version) = unsafe {
        (
            AtomicU32::from_ptr(addr_of!((*thread).rq_status_counter).cast_mut()),
            AtomicI64::from_ptr(addr_of!((*thread).rq_stime).cast_mut()),
            AtomicU32::from_ptr(addr_of!((*thread).rq_vers).cast_mut()),
        )
    };
    // It is odd while one is processed. If what is read then is that of the next one, this one has ended.
    counter.load(Ordering::Acquire) % 2 == 1
        && began.load(Ordering::Relaxed) <= moment
        && version.load(Ordering::Relaxed) == 4
}
