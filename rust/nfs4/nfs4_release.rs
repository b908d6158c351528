// SPDX-License-Identifier: GPL-2.0

//! Releasing what NFSv4 clients hold of a scope.
//!
//! A client that is told that its state was revoked (NFS4ERR_ADMIN_REVOKED) gives its locks up: it
//! may reclaim them elsewhere only if this server never tells it. So a scope is released only when
//! none of its clients is connected; the address that moves is to be gone before, and its connections
//! with it.
//!
//! A client that holds nothing elsewhere is expired, as if its lease had ended: when the export comes
//! back, it is a new one and can reclaim. From another, its stateids are revoked.

use crate::base::clock::since_boot;
use crate::base::text::Text;
use crate::nfs4::client_table::Confirmed;
use crate::nfs4::clientids;
use crate::nfs4::formers;
use crate::nfs4::held::{self, Held};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::server::{Expired, Expiring, Server};
use crate::nfs4::stateids::Steps;
use crate::scopes::scope::Scope;
use core::fmt::Write;
use core::net::IpAddr;
use kernel::current;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta, Instant, Monotonic};

/// How long to wait for requests to end.
const PATIENCE: Delta = Delta::from_secs(5);
/// How long to wait between looks.
const PAUSE: Delta = Delta::from_millis(10);
/// How much of a client's name is shown, in bytes.
const SHOWN: usize = 128;

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

impl Server<'_> {
    /// The first client of a scope that could still use what it holds.
    fn in_the_way(&self, scope: &Scope) -> Option<Found> {
        self.clients().find(|client| {
            if !client.holds(scope) {
                return None;
            }
            if let Some(address) = client.connection(self) {
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
        let _expiring = Expiring::new();
        clientids::make_room();
        let began = since_boot() / 1_000_000_000;
        let mut last = None;
        while let Some((client, held)) = self.take_client(scope, began, last.as_ref()) {
            released.held += held;
            released.clients += usize::from(!held.is_empty());
            last = Some(client);
        }
        drop(last);
        self.revoke_former(scope, &mut released);
        // All that is left of an address is of clients that have come back.
        if !matches!(scope, Scope::Server(_)) {
            self.revoke_scope(scope, &mut released);
        }
        self.each_in_use(|client| client.pins(scope), |client| client.let_go(scope));
        if let Some(found) = self.in_the_way(scope) {
            let (Found::Connected(who, _) | Found::InRequest(who)) = found;
            // Without memory, it is not said.
            released.left = who.because(format_args!("has come back")).ok();
        }
        released
    }

    /// Revokes what former selves hold of a scope: who comes back reclaims where the scope is then. May sleep.
    fn revoke_former(&self, scope: &Scope, released: &mut Released) {
        let Ok(selves) = formers::selves() else {
            return;
        };
        let nn = self.nn().as_ptr();
        let mut steps = Steps::of_client();
        let before = released.held;
        selves.revoke(
            |client| client.is_in(nn),
            |client, stateid| held::is_of(stateid, scope, client.came_to_floating(scope)),
            |stateid, kind| released.held += Held::of(stateid, kind, &mut steps),
        );
        released.clients += usize::from(released.held != before);
    }

    /// Revokes what clients hold of a scope that hold something elsewhere, too, and are not connected. May sleep.
    fn revoke_scope(&self, scope: &Scope, released: &mut Released) {
        self.each_in_use(
            |client| client.holds(scope),
            |client| {
                let before = released.held;
                let mut from = 0;
                while let Some((held, next)) = client.revoke_one(scope, from) {
                    released.held += held;
                    from = next;
                }
                released.clients += usize::from(released.held != before);
            },
        );
    }

    /// Takes a client out of nfsd's tables that is not connected, and either holds something of the scope and
    /// nothing elsewhere, or nothing at all: such a one may have come for the scope, and would be confirmed
    /// when it comes back with it, as a client that has finished reclaiming.
    ///
    /// Who holds nothing and has renewed its lease since the release began, in seconds since boot, is not taken: others could
    /// make such clients faster than they are taken. One of NFSv4.0 is noted, as it may come back here.
    fn take_client(
        &self,
        scope: &Scope,
        began: i64,
        last: Option<&Expired<'_>>,
    ) -> Option<(Expired<'_>, Held)> {
        // Without memory, it is told that its lease has expired.
        let mut room = clientids::Room::new().ok();
        let pick = |client: &Confirmed<'_>| {
            if client.connection(self).is_some() || client.holds_elsewhere(scope) {
                return None;
            }
            let held = client.held(scope, &mut Steps::of_client());
            if held.is_empty()
                && !client.pins(scope)
                && (!client.is_complete() || client.renewed() > began)
            {
                return None;
            }
            Some(held)
        };
        self.expire(last, pick, |client| {
            if client.minor_version() == 0 {
                clientids::release(client, &mut room);
            }
        })
    }
}
