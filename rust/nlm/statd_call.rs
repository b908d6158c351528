// SPDX-License-Identifier: GPL-2.0

//! A call of rpc.statd, over a connection that the next one can use, too.
//!
//! C source: `nsm_mon_unmon()` in `fs/lockd/mon.c`, which makes a connection to rpcbind and one to rpc.statd
//! for each call.

use crate::base::clock::since_boot;
use crate::base::net::Net;
use crate::base::private::{self, nsm_args, nsm_res, rpc_message};
use crate::base::text::Text;
use crate::nlm::host::{Handle, NODENAME};
use core::ffi::c_void;
use core::ptr::{self, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicI64, Ordering};
use kernel::error::{from_err_ptr, to_result};
use kernel::ffi::c_char;
use kernel::prelude::*;

/// What to call (`fs/lockd/mon.c`).
#[derive(Clone, Copy)]
pub(crate) enum Procedure {
    Monitor = 2,
    Unmonitor = 3,
}

/// What rpc.statd shall call when the client has restarted (`nsm_mon_unmon()`).
const CALLBACK_VERSION: u32 = 3;

/// lockd's RPC client for rpc.statd of a net namespace. It asks rpcbind for the port when it first calls.
///
/// # Invariants
///
/// The client is ours, and lockd stays loaded as long as it.
pub(crate) struct Connection {
    client: NonNull<private::rpc_clnt>,
    /// The namespace's cookie. The client has a reference to the namespace.
    net: u64,
    nodename: [c_char; NODENAME],
}

impl Connection {
    /// One to rpc.statd of a namespace, to which this machine calls itself so. May sleep, but does not wait for
    /// anybody.
    ///
    /// # Safety
    ///
    /// lockd stays loaded until it is dropped.
    pub(crate) unsafe fn new(net: Net<'_>, nodename: &[c_char; NODENAME]) -> Result<Self> {
        // SAFETY: The namespace is alive, and the name has an end. lockd is loaded, as the caller says.
        let client = from_err_ptr(unsafe { private::nsm_create(net.as_ptr(), nodename.as_ptr()) })?;
        // INVARIANT: It is new, and nobody else has it.
        Ok(Connection {
            client: NonNull::new(client).ok_or(ENOMEM)?,
            net: net.cookie(),
            nodename: *nodename,
        })
    }

    /// The cookie of its namespace, which stays as long as it.
    pub(crate) fn net(&self) -> u64 {
        self.net
    }

    /// The RPC client, for [`cancel`].
    pub(crate) fn client(&self) -> NonNull<private::rpc_clnt> {
        self.client
    }

    /// Calls rpc.statd about a client: its state number, or `EPERM` if it says no. Sleeps, a minute at most if
    /// it does not answer; fails at once if it cannot be reached.
    pub(crate) fn call(&self, handle: Handle<'_>, procedure: Procedure) -> Result<u32> {
        let mut answer = nsm_res {
            status: 0,
            state: 0,
        };
        // SAFETY: The handle is valid during the call, and with it what the arguments point to. The client is
        // there, with lockd's table of procedures, by the type's invariant; the answer is ours until the call
        // returns.
        to_result(unsafe {
            let mut arguments = nsm_args {
                priv_: addr_of_mut!((*handle.as_ptr()).sm_priv),
                prog: private::NLM_PROGRAM,
                vers: CALLBACK_VERSION,
                proc_: private::NLMPROC_NSM_NOTIFY,
                mon_name: handle.choose_name(),
                nodename: self.nodename.as_ptr(),
            };
            let message = rpc_message {
                rpc_proc: (*self.client.as_ptr()).cl_procinfo.add(procedure as usize),
                rpc_argp: addr_of_mut!(arguments).cast(),
                rpc_resp: addr_of_mut!(answer).cast(),
                rpc_cred: ptr::null(),
            };
            private::rpc_call_sync(
                self.client.as_ptr(),
                &message,
                private::RPC_TASK_SOFTCONN as i32,
            )
        })?;
        if answer.status == 0 {
            Ok(answer.state)
        } else {
            Err(EPERM)
        }
    }
}

impl Drop for Connection {
    /// Sleeps, but does not wait for rpc.statd.
    fn drop(&mut self) {
        // SAFETY: The client is ours, no call of it is under way, as they borrow this, and it goes.
        unsafe { private::rpc_shutdown_client(self.client.as_ptr()) };
    }
}

/// Ends the call that is under way over a connection, if one is. Does not sleep.
///
/// # Safety
///
/// The client is that of a connection that is not dropped during this.
pub(crate) unsafe fn cancel(client: NonNull<private::rpc_clnt>) {
    // SAFETY: The client is there, as the caller says.
    unsafe {
        private::rpc_cancel_tasks(client.as_ptr(), EIO.to_errno(), Some(is_any), ptr::null());
    }
}

/// All calls.
extern "C" fn is_any(_: *const private::rpc_task, _: *const c_void) -> bool {
    true
}

/// When the last message about rpc.statd was, in nanoseconds since boot.
static SAID: AtomicI64 = AtomicI64::new(i64::MIN);

/// Says that rpc.statd did not do what it was asked for a client; clients can cause this, so it
/// says it every ten seconds at most. Does not sleep.
pub(crate) fn say(handle: Handle<'_>, what: &str) {
    let (now, last) = (since_boot(), SAID.load(Ordering::Relaxed));
    if now >= last.saturating_add(10_000_000_000) {
        SAID.store(now, Ordering::Relaxed);
        let mut name = Text::default();
        let _ = handle.with_name(|bytes| name.name(bytes));
        pr_notice!("{} {what}: is rpc.statd running?\n", name.as_str());
    }
}
