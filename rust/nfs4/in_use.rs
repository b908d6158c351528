// SPDX-License-Identifier: GPL-2.0

//! A client of NFSv4 in use, as if it had a request: nobody frees it, and what it holds can be looked at bit by bit, and
//! revoked.
//!
//! C source: `nfsd4_revoke_export_states()` in `fs/nfsd/nfs4state.c`, which does this for all that was made through one
//! path. Stateids are revoked one by one here, each with a look at the client's connection before: one who has come
//! back meanwhile keeps what is left.

use crate::base::clock::since_boot;
use crate::base::private;
use crate::nfs4::client_table::Confirmed;
use crate::nfs4::held::Held;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::server::Server;
use crate::scopes::scope::Scope;
use crate::scopes::svc_export::ExportRef;
use core::ptr::{self, addr_of_mut};
use core::sync::atomic::{AtomicI32, Ordering};
use kernel::bindings;

/// All that sleep, but those that are stopped (`include/linux/sched.h`).
const TASK_NORMAL: u32 = 1 | 2;

/// How many exports are let go of after one look.
const BATCH: usize = 16;

/// A client in use. Dropping it takes `client_lock`; its lease is not renewed.
///
/// # Invariants
///
/// It is counted once in the client's `cl_rpc_users`, which keeps the client in its server's tables; and the server
/// stays up for `'a`.
pub(crate) struct InUse<'a> {
    client: &'a Nfs4Client,
    server: &'a Server<'a>,
}

impl InUse<'_> {
    /// Revokes what it holds of a scope from a stateid's number on, if it is not connected: the first one. Returns what
    /// that was, and the number to go on with. May sleep; takes `client_lock`, `cl_lock` and the stateid's mutex.
    pub(crate) fn revoke_one(&self, scope: &Scope, from: usize) -> Option<(Held, usize)> {
        let (stateid, held, next) = {
            let table = self.server.clients();
            let client = table.get(self.client())?;
            if client.connection(self.server).is_some() {
                return None;
            }
            client.first_to_revoke(self.client(), scope, from)?
        };
        // SAFETY: The server is up, the client is in use, and the stateid was pinned as one of its; `nfsd_mutex` is held, as
        // where nfsd calls this. The field for NFSv4.0 changes under the server's `client_lock`.
        unsafe {
            stateid.revoke(self.client());
            if self.client().minor_version() == 0 {
                let _table = self.server.clients();
                (*self.server.nn().as_ptr()).nfs40_last_revoke = since_boot() / 1_000_000_000;
            }
        }
        Some((held, next))
    }

    /// The client, which stays as long as this.
    fn client(&self) -> &Nfs4Client {
        self.client
    }

    /// Has all of its stateids that are no more let go of exports of a scope. May sleep; takes `client_lock` and
    /// `cl_lock`.
    pub(crate) fn let_go(&self, scope: &Scope) {
        let mut from = Some(0);
        while let Some(first) = from {
            let mut exports: [Option<ExportRef>; BATCH] = [const { None }; BATCH];
            let table = self.server.clients();
            let client = table.get(self.client());
            from = client.and_then(|client| client.take_pins(scope, first, &mut exports));
        }
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        // As put_client_no_renew(), which some compilers make a part of its caller.
        let _table = self.server.clients();
        let raw = self.client().as_ptr();
        // SAFETY: The client is counted, by the type's invariant; nobody frees it while we have the lock. Who expires it waits
        // there until it is not in use.
        unsafe {
            let users = AtomicI32::from_ptr(addr_of_mut!((*raw).cl_rpc_users.counter));
            if users.fetch_sub(1, Ordering::AcqRel) == 1 && self.client().is_expired() {
                private::__wake_up(&raw mut private::expiry_wq, TASK_NORMAL, 0, ptr::null_mut());
            }
        }
    }
}

impl Server<'_> {
    /// Calls `f` with each client that `want` likes; `f` may sleep. Takes `client_lock`, under which `want` is asked.
    pub(crate) fn each_in_use(
        &self,
        want: impl Fn(&Confirmed<'_>) -> bool,
        mut f: impl FnMut(&InUse<'_>),
    ) {
        let mut last: Option<InUse<'_>> = None;
        loop {
            let after = last.as_ref().map(InUse::client);
            let table = self.clients();
            let found = table.find_after(after.map(|client| client.name()), |client| {
                if client.is_expired() || !want(client) {
                    return None;
                }
                let raw = client.as_ptr();
                // SAFETY: It is in its server's table, whose lock is held. Who expires it waits until it is not in use.
                unsafe {
                    bindings::atomic_inc(addr_of_mut!((*raw).cl_rpc_users).cast());
                    // INVARIANT: It is counted from now on.
                    Some(InUse {
                        client: Nfs4Client::from_raw(raw),
                        server: self,
                    })
                }
            });
            let next = found.map(|(_, next)| next);
            drop(table);
            let Some(next) = next else {
                break;
            };
            f(&next);
            last = Some(next);
        }
    }
}
