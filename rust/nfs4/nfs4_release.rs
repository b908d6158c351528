// SPDX-License-Identifier: GPL-2.0

//! Releasing what NFSv4 clients hold of a scope.
//!
//! A client that is told that its state was revoked (NFS4ERR_ADMIN_REVOKED) gives its locks up: it
//! may reclaim them elsewhere only if this server never tells it. So a scope is released only when
//! none of its clients is connected; the address that moves is to be gone before, and its connections
//! with it.
//!
//! A client that holds nothing elsewhere is expired, as if its lease had ended: when the export comes
//! back, it is a new one and can reclaim. From another, its stateids are revoked
//! (`nfsd4_revoke_export_states()`).

use crate::base::net::Nfsd;
use crate::base::private;
use crate::base::raw::MutexGuard;
use crate::base::text::Text;
use crate::nfs4::held::Held;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::scopes::scope::Scope;
use core::fmt::Write;
use core::net::IpAddr;
use core::ptr;
use kernel::current;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta, Instant, Monotonic};

/// How long to wait, in each step: for nfsd to start or stop, and for requests to end.
const PATIENCE: Delta = Delta::from_secs(5);
/// How long to wait between looks.
const PAUSE: Delta = Delta::from_millis(10);
/// How much of a client's name is shown, in bytes.
const SHOWN: usize = 128;

/// The server of a namespace, which neither starts nor stops while this lives: `nfsd_mutex` is held.
pub(crate) struct Server<'a> {
    nn: &'a NfsdNet,
    _mutex: MutexGuard,
}

/// What was released.
#[derive(Default)]
pub(crate) struct Released {
    pub(crate) held: Held,
    pub(crate) clients: usize,
    /// What is left, and why.
    pub(crate) left: Option<Text>,
}

/// A client that is in the way.
struct Who {
    name: [u8; SHOWN],
    len: usize,
}

impl Who {
    fn new(client: &Nfs4Client) -> Self {
        let mut who = Who {
            name: [0; SHOWN],
            len: client.name().len().min(SHOWN),
        };
        who.name[..who.len].copy_from_slice(&client.name()[..who.len]);
        who
    }

    fn because(&self, reason: core::fmt::Arguments<'_>) -> Result<Text> {
        let mut text = Text::default();
        text.write_str("NFSv4 client ")?;
        text.name(&self.name[..self.len])?;
        write!(text, ": {reason}")?;
        Ok(text)
    }
}

/// A client of the scope, as it was found.
enum Found {
    Connected(Who, IpAddr),
    InRequest(Who),
}

impl<'a> Server<'a> {
    /// Holds the server as it is; `None` if it does not run. Fails with `EBUSY` if it starts or
    /// stops for long, and with `EINTR` after a signal. May sleep.
    /// The caller does not hold `nfsd_mutex`.
    pub(crate) fn get(nfsd: Nfsd<'a>) -> Result<Option<Self>> {
        let began = Instant::<Monotonic>::now();
        let mutex = loop {
            // SAFETY: nfsd stays loaded for `'a`, and so does its mutex.
            if let Some(mutex) = unsafe { MutexGuard::try_new(&raw mut private::nfsd_mutex) } {
                break mutex;
            }
            if began.elapsed() > PATIENCE {
                return Err(EBUSY);
            }
            if current!().signal_pending() {
                return Err(EINTR);
            }
            fsleep(PAUSE);
        };
        let nn = NfsdNet::of(nfsd);
        Ok(nn.is_up().then(|| Server { nn, _mutex: mutex }))
    }

    /// nfsd's state of the namespace.
    pub(crate) fn nfsd(&self) -> &NfsdNet {
        self.nn
    }

    /// The first client of a scope that could still use what it holds.
    fn in_the_way(&self, scope: &Scope) -> Option<Found> {
        let server = self.nn.server();
        self.nn.find_client(|client| {
            if !client.holds(scope) {
                return None;
            }
            // SAFETY: The server's clients, and it does not stop.
            if let Some(address) = unsafe { client.connection(server) } {
                return Some(Found::Connected(Who::new(client), address));
            }
            client
                .is_in_use()
                .then(|| Found::InRequest(Who::new(client)))
        })
    }

    /// Waits until no request of a client of the scope is left. Returns who is in the way: a client that
    /// is connected, or one whose request does not end. Fails with `ENOMEM`, and with `EINTR` after a
    /// signal. May sleep.
    pub(crate) fn busy(&self, scope: &Scope) -> Result<Option<Text>> {
        let began = Instant::<Monotonic>::now();
        loop {
            match self.in_the_way(scope) {
                None => return Ok(None),
                Some(Found::Connected(who, address)) => {
                    return Ok(Some(who.because(format_args!("connected to {address}"))?));
                }
                Some(Found::InRequest(who)) if began.elapsed() > PATIENCE => {
                    return Ok(Some(who.because(format_args!("a request does not end"))?));
                }
                Some(Found::InRequest(_)) if current!().signal_pending() => return Err(EINTR),
                Some(Found::InRequest(_)) => fsleep(PAUSE),
            }
        }
    }

    /// Releases a scope, of whose clients none was in the way. May sleep.
    pub(crate) fn release(&self, scope: &Scope) -> Released {
        let mut released = Released::default();
        while let Some((client, held)) = self.take_client(scope) {
            released.held += held;
            released.clients += usize::from(!held.is_empty());
            // SAFETY: `take_client()` has marked it expired, so that it is ours to free.
            unsafe { private::expire_client(client) };
        }
        // All that is left of an address is of clients that have come back.
        if !matches!(scope, Scope::Server(_)) {
            self.revoke(scope, &mut released);
        }
        while let Some(export) = self.nn.find_client(|client| client.take_pin(scope)) {
            drop(export);
        }
        if let Some(found) = self.in_the_way(scope) {
            let (Found::Connected(who, _) | Found::InRequest(who)) = found;
            // Without memory, it is not said.
            released.left = who.because(format_args!("has come back")).ok();
        }
        released
    }

    /// Revokes what clients hold of an export that hold something elsewhere, too. May sleep.
    fn revoke(&self, scope: &Scope, released: &mut Released) {
        self.nn.for_each_client(|client| {
            let held = client.held(scope);
            released.held += held;
            released.clients += usize::from(!held.is_empty());
        });
        let mut tried: KVVec<Path> = KVVec::new();
        while let Some(path) = self.first_path(scope, &tried) {
            // SAFETY: The server runs, and `nfsd_mutex` is held.
            unsafe { private::nfsd4_revoke_export_states(self.nn.as_ptr(), &raw const path.0) };
            if tried.push(path, GFP_KERNEL).is_err() {
                break;
            }
        }
    }

    /// Takes a client out of nfsd's tables that is not connected, and either holds something of the scope and
    /// nothing elsewhere, or nothing at all: such a one may have come for the scope, and would be confirmed
    /// when it comes back with it, as a client that has finished reclaiming.
    fn take_client(&self, scope: &Scope) -> Option<(*mut private::nfs4_client, Held)> {
        let server = self.nn.server();
        self.nn.find_client(|client| {
            if client.holds_elsewhere(scope) {
                return None;
            }
            let held = client.held(scope);
            if held.is_empty() && !client.is_complete() && !client.pins(scope) {
                return None;
            }
            // SAFETY: The server's clients, and it does not stop; `find_client()` holds `client_lock`.
            if unsafe { client.connection(server) }.is_some() {
                return None;
            }
            let raw = client.as_ptr();
            // SAFETY: `find_client()` holds `client_lock`, and looks no further.
            match unsafe { private::mark_client_expired_locked(raw) } {
                0 => Some((raw, held)),
                _ => None,
            }
        })
    }

    /// The path of the first export by which a client has something of the scope, without those that were
    /// tried.
    fn first_path(&self, scope: &Scope, tried: &[Path]) -> Option<Path> {
        self.nn.find_client(|client| {
            client.find_held(scope, |stateid| {
                // SAFETY: A stateid that is live has a reference to its export, if it has one.
                unsafe { Path::of(stateid.export(), tried) }
            })
        })
    }
}

/// A path, with references.
struct Path(private::path);

impl Path {
    /// That of an export, unless it is null, or the path one of `others`. Does not sleep.
    ///
    /// # Safety
    ///
    /// The export is null or valid.
    unsafe fn of(export: *const private::svc_export, others: &[Path]) -> Option<Self> {
        // SAFETY: By this function's requirement.
        let path = unsafe { export.as_ref()?.ex_path };
        let is_same =
            |other: &Path| ptr::eq(other.0.mnt, path.mnt) && ptr::eq(other.0.dentry, path.dentry);
        if others.iter().any(is_same) {
            return None;
        }
        // SAFETY: An export has references to its path.
        unsafe { private::path_get(&raw const path) };
        Some(Path(path))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // SAFETY: It has references, and we may sleep.
        unsafe { private::path_put(&raw const self.0) };
    }
}
