// SPDX-License-Identifier: GPL-2.0

//! What an NFSv4 client holds on an export, and whether it can be reached.
//!
//! C source: `struct nfs4_stid` in `fs/nfsd/state.h`. A client's `cl_lock` guards its stateids, its
//! sessions and their connections.

use crate::base::private;
use crate::base::raw::{list_entries, SpinGuard};
use crate::base::sockaddr;
use crate::nfs4::identity;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::scopes::exports::{self, ExportRef};
use crate::scopes::scope::{Fsid, Scope};
use core::net::IpAddr;
use core::ops::AddAssign;
use core::ptr::{self, addr_of, addr_of_mut};
use kernel::container_of;
use kernel::types::Opaque;

/// Stateids, by kind.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) opens: usize,
    pub(crate) locks: usize,
    pub(crate) delegations: usize,
    pub(crate) layouts: usize,
}

impl Held {
    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        *self == Held::default()
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.opens += other.opens;
        self.locks += other.locks;
        self.delegations += other.delegations;
        self.layouts += other.layouts;
    }
}

/// A stateid (`struct nfs4_stid`), under its client's `cl_lock`.
pub(crate) struct Stateid<'a>(&'a Opaque<private::nfs4_stid>);

impl Stateid<'_> {
    fn raw(&self) -> &private::nfs4_stid {
        // SAFETY: It is valid. What is read of it changes under its client's lock only, or is a word.
        unsafe { &*self.0.get() }
    }

    /// What it is. One that was closed or revoked, or is being made or freed, is nothing any more.
    fn counts(&self) -> Held {
        let mut one = Held::default();
        if self.raw().sc_status == 0 {
            match u32::from(self.raw().sc_type) {
                private::nfsd_ha_stid_NFSD_HA_OPEN => one.opens = 1,
                private::nfsd_ha_stid_NFSD_HA_LOCK => one.locks = 1,
                private::nfsd_ha_stid_NFSD_HA_DELEG => one.delegations = 1,
                private::nfsd_ha_stid_NFSD_HA_LAYOUT => one.layouts = 1,
                _ => (),
            }
        }
        one
    }

    /// Is it state of a file?
    fn is_live(&self) -> bool {
        !self.counts().is_empty()
    }

    /// Is it no more, but has an export of a scope? `all` of its client's are.
    fn pins(&self, scope: &Scope, all: bool) -> bool {
        let raw = self.raw();
        raw.sc_status != 0 && !raw.sc_export.is_null() && self.is_of(scope, all)
    }

    /// Is it of a scope? `all` of its client's are.
    fn is_of(&self, scope: &Scope, all: bool) -> bool {
        all || self.fsid().is_some_and(|fsid| scope.has(&fsid))
    }

    /// The export that it was had by; null if it is no state of a file.
    pub(crate) fn export(&self) -> *const private::svc_export {
        self.raw().sc_export
    }

    /// The fsid of its export.
    fn fsid(&self) -> Option<Fsid> {
        // SAFETY: A stateid has references to its export and to its file, if it has them, and loses
        // them under its client's lock.
        unsafe {
            if let Some(export) = self.raw().sc_export.as_ref() {
                return Some(exports::fsid(export));
            }
            let handle = &self.raw().sc_file.as_ref()?.fi_fhandle;
            Fsid::of_handle(handle.fh_raw.get(..handle.fh_size as usize)?)
        }
    }
}

impl Nfs4Client {
    /// Has it something of a scope?
    pub(crate) fn holds(&self, scope: &Scope) -> bool {
        self.find_held(scope, |_| Some(())).is_some()
    }

    /// Has it something that is not of a scope?
    pub(crate) fn holds_elsewhere(&self, scope: &Scope) -> bool {
        let all = self.came_to(scope);
        self.any_stateid(|stateid| stateid.is_live() && !stateid.is_of(scope, all))
    }

    /// Counts what it holds of a scope. Does not sleep; takes `cl_lock`, as all of these do.
    pub(crate) fn held(&self, scope: &Scope) -> Held {
        let mut held = Held::default();
        self.find_held(scope, |stateid| {
            held += stateid.counts();
            None::<()>
        });
        held
    }

    /// What `f` finds in what it holds of a scope.
    pub(crate) fn find_held<R>(
        &self,
        scope: &Scope,
        mut f: impl FnMut(&Stateid<'_>) -> Option<R>,
    ) -> Option<R> {
        let all = self.came_to(scope);
        self.find_stateid(|stateid| {
            let wanted = stateid.is_live() && stateid.is_of(scope, all);
            wanted.then(|| f(stateid)).flatten()
        })
    }

    /// Has it a stateid that is no more, but has not let go of an export of a scope?
    pub(crate) fn pins(&self, scope: &Scope) -> bool {
        let all = self.came_to(scope);
        self.any_stateid(|stateid| stateid.pins(scope, all))
    }

    /// Has such a stateid let go of its export, which is the caller's then: one of a file that was closed
    /// keeps it until the owner closes another one (NFSv4.0, `oo_last_closed_stid`), one that was revoked
    /// until the client frees it (`drop_stid_export()` in `fs/nfsd/nfs4state.c` does this for some).
    pub(crate) fn take_pin(&self, scope: &Scope) -> Option<ExportRef> {
        let all = self.came_to(scope);
        self.find_stateid(|stateid| {
            let pins = stateid.pins(scope, all);
            // SAFETY: Who uses the export of a stateid that is no more does so under the client's lock, which
            // we hold. The reference was the stateid's.
            pins.then(|| unsafe {
                let raw = stateid.0.get();
                ExportRef::new(core::mem::replace(&mut (*raw).sc_export, ptr::null_mut()))
            })
        })
    }

    /// Calls `f` with what it holds, stateid by stateid, and on which export.
    pub(crate) fn each_held(&self, mut f: impl FnMut(Fsid, Held)) {
        self.find_stateid(|stateid| {
            if let (true, Some(fsid)) = (stateid.is_live(), stateid.fsid()) {
                f(fsid, stateid.counts());
            }
            None::<()>
        });
    }

    /// Is one of its stateids so?
    fn any_stateid(&self, mut f: impl FnMut(&Stateid<'_>) -> bool) -> bool {
        let found = self.find_stateid(|stateid| if f(stateid) { Some(()) } else { None });
        found.is_some()
    }

    /// What `f` finds in its stateids.
    fn find_stateid<R>(&self, mut f: impl FnMut(&Stateid<'_>) -> Option<R>) -> Option<R> {
        let raw = self.as_ptr();
        // SAFETY: The client is valid. In its table are valid stateids, as long as we hold its lock, which
        // nfsd takes in process context only.
        unsafe {
            let _guard = SpinGuard::new(addr_of_mut!((*raw).cl_lock));
            let mut id = 0;
            loop {
                let next = private::idr_get_next_ul(addr_of_mut!((*raw).cl_stateids), &raw mut id);
                let stateid = next.cast::<Opaque<private::nfs4_stid>>().as_ref()?;
                let found = f(&Stateid(stateid));
                if found.is_some() {
                    return found;
                }
                id += 1;
            }
        }
    }

    /// Has it come to the address that the scope is, so that all it holds is of it? That is known of
    /// one that came to a floating address, by its name, and with NFSv4.0, if it has callbacks.
    fn came_to(&self, scope: &Scope) -> bool {
        let Scope::Server(address) = scope else {
            return false;
        };
        identity::owner(self.name(), *address).is_some()
            || self.minor_version() == 0 && self.server() == Some(*address)
    }

    /// With NFSv4.0, the server's address that it came to, if it has callbacks.
    fn server(&self) -> Option<IpAddr> {
        // SAFETY: SETCLIENTID sets it, with SETCLIENTID_CONFIRM for a client that is there already, under
        // `client_lock`, which our callers hold.
        unsafe { sockaddr::address(addr_of!((*self.as_ptr()).cl_cb_conn.cb_saddr)) }
    }

    /// The server's address that it is connected to, if it is. Does not sleep; takes `cl_lock`, or for
    /// NFSv4.0 the server's `sv_lock`.
    ///
    /// # Safety
    ///
    /// `server` is the one whose client this is, and stays. The caller holds `client_lock`.
    pub(crate) unsafe fn connection(&self, server: *mut private::svc_serv) -> Option<IpAddr> {
        let raw = self.as_ptr();
        if self.minor_version() == 0 {
            // SAFETY: By this function's requirement. Its address is not changed once it is confirmed.
            return unsafe {
                let client = sockaddr::address(addr_of!((*raw).cl_addr))?;
                find_connection(server, self.server(), client)
            };
        }
        // SAFETY: The client is valid. Its sessions and their connections are, as long as we hold its lock; a
        // connection is removed from its session before its transport goes.
        unsafe {
            let _guard = SpinGuard::new(addr_of_mut!((*raw).cl_lock));
            for session in list_entries(addr_of_mut!((*raw).cl_sessions)) {
                let session = container_of!(session, private::nfsd4_session, se_perclnt);
                for one in list_entries(addr_of_mut!((*session).se_conns)) {
                    let one = container_of!(one, private::nfsd4_conn, cn_persession);
                    if is_open((*one).cn_xprt) {
                        return sockaddr::address(addr_of!((*(*one).cn_xprt).xpt_local));
                    }
                }
            }
        }
        None
    }
}

/// Is a transport neither closed nor about to be? When an address is removed, nfsd has its
/// transports closed (`nfsd_inetaddr_event()`).
///
/// # Safety
///
/// The transport is valid.
unsafe fn is_open(transport: *const private::svc_xprt) -> bool {
    // SAFETY: By this function's requirement; a word, read in one go.
    let flags = unsafe { addr_of!((*transport).xpt_flags).read_volatile() };
    [private::XPT_CLOSE, private::XPT_DEAD]
        .iter()
        .all(|bit| flags >> bit & 1 == 0)
}

/// The server's end of a connection that it has with a client, at one of its addresses or at any. Does not
/// sleep; takes `sv_lock`.
///
/// # Safety
///
/// The server stays.
unsafe fn find_connection(
    server: *mut private::svc_serv,
    own: Option<IpAddr>,
    client: IpAddr,
) -> Option<IpAddr> {
    // SAFETY: By this function's requirement. The list has valid transports as long as we hold its lock,
    // which softirqs take, too.
    unsafe {
        let lock = addr_of_mut!((*server).sv_lock);
        private::_raw_spin_lock_bh(lock.cast());
        let found = list_entries(addr_of_mut!((*server).sv_tempsocks)).find_map(|node| {
            let transport = container_of!(node, private::svc_xprt, xpt_list);
            let local = sockaddr::address(addr_of!((*transport).xpt_local));
            let wanted = is_open(transport)
                && (own.is_none() || local == own)
                && sockaddr::address(addr_of!((*transport).xpt_remote)) == Some(client);
            if wanted {
                local
            } else {
                None
            }
        });
        private::_raw_spin_unlock_bh(lock.cast());
        found
    }
}
