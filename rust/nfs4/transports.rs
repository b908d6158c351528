// SPDX-License-Identifier: GPL-2.0

//! Whether an NFSv4 client is connected, and to which address.
//!
//! C source: `include/linux/sunrpc/svc_xprt.h`; `struct nfsd4_session` in `fs/nfsd/state.h`.

use crate::base::private;
use crate::base::raw::list_entries;
use crate::base::sockaddr;
use crate::nfs4::client_table::Confirmed;
use crate::nfs4::clientids;
use crate::nfs4::server::Server;
use crate::nfs4::stateids::StateLock;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::{addr_of, addr_of_mut};
use kernel::container_of;

/// A transport of sunrpc (`struct svc_xprt`), the server's end of a connection.
///
/// # Invariants
///
/// It is valid for `'a`.
struct Transport<'a>(*const private::svc_xprt, PhantomData<&'a ()>);

impl Transport<'_> {
    /// Is it neither closed nor about to be? When an address is removed, nfsd has its transports closed
    /// (`nfsd_inetaddr_event()`).
    fn is_open(&self) -> bool {
        // SAFETY: A word of a valid transport, read in one go.
        let flags = unsafe { addr_of!((*self.0).xpt_flags).read_volatile() };
        [private::XPT_CLOSE, private::XPT_DEAD]
            .iter()
            .all(|bit| flags >> bit & 1 == 0)
    }

    /// The server's address, and the client's.
    fn ends(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        // SAFETY: A transport has its addresses before others see it, and does not change them.
        unsafe {
            (
                sockaddr::address(&(*self.0).xpt_local),
                sockaddr::address(&(*self.0).xpt_remote),
            )
        }
    }
}

impl StateLock<'_> {
    /// The transports of the client's sessions.
    fn transports(&self) -> impl Iterator<Item = Transport<'_>> {
        let client = self.client();
        // SAFETY: The client's sessions and their connections are valid and do not change while its lock is
        // held, which is as long as the iterator is there.
        unsafe {
            list_entries(addr_of_mut!((*client).cl_sessions)).flat_map(|session| {
                let session = container_of!(session, private::nfsd4_session, se_perclnt);
                list_entries(addr_of_mut!((*session).se_conns)).map(|one| {
                    let one = container_of!(one, private::nfsd4_conn, cn_persession);
                    // INVARIANT: A connection leaves its session, under the lock, before its transport goes.
                    Transport((*one).cn_xprt, PhantomData)
                })
            })
        }
    }
}

impl Server<'_> {
    /// What `f` finds in the server's connections. Does not sleep; takes `sv_lock`, which `f` does not.
    fn find_transport<R>(&self, f: impl FnMut(Transport<'_>) -> Option<R>) -> Option<R> {
        let server = self.as_ptr();
        // SAFETY: The server does not stop as long as we are borrowed. Its list has valid transports while its
        // lock is held, which softirqs take, too.
        unsafe {
            let lock = addr_of_mut!((*server).sv_lock);
            private::_raw_spin_lock_bh(lock.cast());
            let found = list_entries(addr_of_mut!((*server).sv_tempsocks))
                .map(|node| {
                    let transport = container_of!(node, private::svc_xprt, xpt_list);
                    // INVARIANT: It is in the list until we release the lock, and `f` cannot keep it.
                    Transport(transport, PhantomData)
                })
                .find_map(f);
            private::_raw_spin_unlock_bh(lock.cast());
            found
        }
    }
}

impl Confirmed<'_> {
    /// The address of its server that it is connected to, if it is. Does not sleep; takes `cl_lock`, or for
    /// NFSv4.0 the server's `sv_lock`.
    pub(crate) fn connection(&self, server: &Server<'_>) -> Option<IpAddr> {
        if self.minor_version() == 0 {
            let own = self.server_address();
            let addresses = clientids::addresses(self);
            return server.find_transport(|transport| {
                let (local, remote) = transport.ends();
                let is_its = remote.is_some() && addresses.contains(&remote);
                local.filter(|_| transport.is_open() && (own.is_none() || local == own) && is_its)
            });
        }
        let state = self.lock_state();
        let mut transports = state.transports();
        let (local, _) = transports.find(|transport| transport.is_open())?.ends();
        local
    }
}
