// SPDX-License-Identifier: GPL-2.0

//! What a request is about, as far as scopes go.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::place::Place;
use crate::scopes::scope::Scope;
use core::net::IpAddr;

/// What a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subject {
    /// Where its file is, and the second one where it has two.
    pub(crate) files: [Place; 2],
    /// The server's address that it came to.
    pub(crate) server: Option<IpAddr>,
    /// It reclaims: how often nfsd or lockd asks for a request of this kind, if it does.
    pub(crate) reclaim_asks: Option<u32>,
}

impl Subject {
    /// Is the request about something of this scope?
    pub(crate) fn is_of(&self, scope: &Scope) -> bool {
        self.server
            .is_some_and(|server| *scope == Scope::Server(server))
            || self.files.iter().any(|place| scope.covers(place))
    }
}
