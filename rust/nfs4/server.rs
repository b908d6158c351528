// SPDX-License-Identifier: GPL-2.0

//! A server of nfsd that neither starts nor stops, and what is done to it as a whole.

use crate::base::net::Nfsd;
use crate::base::private;
use crate::base::raw::MutexGuard;
use crate::base::transport::Service;
use crate::nfs4::client_table::{ClientTable, Confirmed};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::current;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta, Instant, Monotonic};

/// How long to wait for nfsd to start or stop.
const PATIENCE: Delta = Delta::from_secs(5);
/// How long to wait between looks.
const PAUSE: Delta = Delta::from_millis(10);

/// The server of a namespace, which neither starts nor stops while this lives.
///
/// # Invariants
///
/// The server is up, and this task holds `nfsd_mutex`.
pub(crate) struct Server<'a> {
    nn: &'a NfsdNet,
    _mutex: MutexGuard,
}

impl<'a> Server<'a> {
    /// Holds the server as it is; `None` if it does not run. Fails with `EBUSY` if it starts or
    /// stops for long, and with `EINTR` after a signal. May sleep.
    pub(crate) fn get(nfsd: Nfsd<'a>) -> Result<Option<Self>> {
        let began = Instant::<Monotonic>::now();
        loop {
            if let Some(server) = Self::try_get(nfsd) {
                return Ok(server);
            }
            if began.elapsed() > PATIENCE {
                return Err(EBUSY);
            }
            if current!().signal_pending() {
                return Err(EINTR);
            }
            fsleep(PAUSE);
        }
    }

    /// As [`Server::get`], but does not wait: `None` if a server starts or stops. Does not sleep.
    pub(crate) fn try_get(nfsd: Nfsd<'a>) -> Option<Option<Self>> {
        // SAFETY: nfsd, whose mutex it is, stays loaded. Should this task have it, it is not had twice.
        let mutex = unsafe { MutexGuard::try_new(&raw mut private::nfsd_mutex) }?;
        let nn = NfsdNet::of(nfsd);
        // INVARIANT: We have the mutex, under which alone it goes up and down.
        Some(nn.is_up().then(|| Server { nn, _mutex: mutex }))
    }

    /// nfsd's state of its namespace.
    pub(crate) fn nn(&self) -> &NfsdNet {
        self.nn
    }

    /// The server as sunrpc has it.
    pub(crate) fn service(&self) -> Service<'_> {
        // SAFETY: The server is up, so it is there, and does not stop as long as we are borrowed.
        unsafe { Service::from_raw(NonNull::new_unchecked(self.nn.server())) }
    }

    /// Its confirmed clients. Takes `client_lock`.
    pub(crate) fn clients(&self) -> ClientTable<'_> {
        // SAFETY: The server is up, and does not stop as long as we are borrowed.
        unsafe { ClientTable::lock(self.nn) }
    }

    /// Takes the first client after `last` for which `pick` says something out of nfsd's tables, unless a request of
    /// it is being processed, and tells `taken` of it, before it can notice; then goes on. Takes `client_lock`.
    pub(crate) fn expire<R>(
        &self,
        last: Option<&Expired<'_>>,
        mut pick: impl FnMut(&Confirmed<'_>) -> Option<R>,
        mut taken: impl FnMut(&Confirmed<'_>),
    ) -> Option<(Expired<'_>, R)> {
        let table = self.clients();
        let mut in_use: Option<Confirmed<'_>> = None;
        loop {
            let after = in_use.as_deref().or(last.map(Expired::client));
            let (client, picked) =
                table.find_after(after.map(|client| client.name()), &mut pick)?;
            let raw = client.as_ptr();
            // SAFETY: It is in its server's table, of which we hold the lock, and nobody looks for what comes after it once
            // it has left that. It is not freed then, until we do.
            unsafe {
                if private::mark_client_expired_locked(raw) != 0 {
                    in_use = Some(client);
                    continue;
                }
                taken(&client);
                // INVARIANT: Who takes a client out of the tables frees it, and the server does not stop as long as
                // we are borrowed.
                return Some((Expired(Nfs4Client::from_raw(raw)), picked));
            }
        }
    }
}

/// The task that expires clients one after the other, if there is one. Releases are one at a time.
static EXPIRES: AtomicUsize = AtomicUsize::new(0);

/// The current task expires clients one after the other, with `nfsd_mutex` held, as long as this lives: it waits for no
/// record to be removed, as there may be many clients.
pub(crate) struct Expiring(());

impl Expiring {
    pub(crate) fn new() -> Self {
        EXPIRES.store(current!().as_ptr().addr(), Ordering::Relaxed);
        Expiring(())
    }

    /// Does the current task do so?
    pub(crate) fn is_current() -> bool {
        EXPIRES.load(Ordering::Relaxed) == current!().as_ptr().addr()
    }
}

impl Drop for Expiring {
    fn drop(&mut self) {
        EXPIRES.store(0, Ordering::Relaxed);
    }
}

/// A client that has expired. Dropping it ends all that it holds, and frees it; that may sleep, and takes
/// `client_lock`.
///
/// # Invariants
///
/// It is in no table of its server, which is up for `'a`, and is ours to free.
pub(crate) struct Expired<'a>(&'a Nfs4Client);

impl Expired<'_> {
    /// The client, which stays as long as this.
    fn client(&self) -> &Nfs4Client {
        self.0
    }
}

impl Drop for Expired<'_> {
    fn drop(&mut self) {
        // SAFETY: It is ours, and its server is up.
        unsafe { private::expire_client(self.client().as_ptr()) };
    }
}
