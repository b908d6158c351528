// SPDX-License-Identifier: GPL-2.0

//! Whether an NFSv4 client is connected, and to which address.
//!
//! C source: `struct nfsd4_session` in `fs/nfsd/state.h`.

use crate::base::private;
use crate::base::raw::list_entries;
use crate::base::transport::Transport;
use crate::nfs4::client_table::Confirmed;
use crate::nfs4::clientids;
use crate::nfs4::server::Server;
use crate::nfs4::stateids::StateLock;
use core::net::IpAddr;
use core::ptr::{addr_of_mut, NonNull};
use kernel::container_of;

impl StateLock<'_> {
    /// The transports of the client's sessions.
    fn transports(&self) -> impl Iterator<Item = Transport<'_>> {
        let client = self.client();
        // SAFETY: The client's sessions and their connections are valid and do not change while its lock is
        // held, which is as long as the iterator is there. A connection leaves its session, under the lock, before its
        // transport goes.
        unsafe {
            list_entries(addr_of_mut!((*client).cl_sessions)).flat_map(|session| {
                let session = container_of!(session, private::nfsd4_session, se_perclnt);
                list_entries(addr_of_mut!((*session).se_conns)).map(|one| {
                    let one = container_of!(one, private::nfsd4_conn, cn_persession);
                    Transport::from_raw(NonNull::new_unchecked((*one).cn_xprt))
                })
            })
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
            return server.service().find(|transport| {
                let [local, remote] = transport.ends();
                let is_its = remote.is_some() && addresses.contains(&remote);
                local.filter(|_| transport.is_open() && (own.is_none() || local == own) && is_its)
            });
        }
        let state = self.lock_state();
        let mut transports = state.transports();
        let [local, _] = transports.find(Transport::is_open)?.ends();
        local
    }
}
