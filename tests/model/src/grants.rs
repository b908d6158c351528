// SPDX-License-Identifier: GPL-2.0

//! As `rust/tracking/grants.rs`: what a request asks to be granted is put on record before.

use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::params::LIMIT;
use crate::base::recent::{Digest, Recent};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::scopes::place::ExportId;
use crate::tracking::tracker::Tracker;

static LATELY: Global<Recent> = Global::new();

impl Default for Recent {
    fn default() -> Self {
        Recent::new()
    }
}

pub(crate) fn forget() {
    LATELY.forget();
}

/// What a request asks to be granted.
pub(crate) struct Grant<'a> {
    client: Option<&'a Nfs4Client>,
    export: ExportId,
    lately: Digest,
}

impl<'a> Grant<'a> {
    /// For a client, or one of NLM.
    pub(crate) fn new(client: Option<&'a Nfs4Client>, export: ExportId) -> Self {
        let words = [
            client.map_or(0, |client| std::ptr::from_ref(client).addr() as u64),
            u64::from(export.file_system[0]),
        ];
        Grant {
            client,
            export,
            lately: LATELY.digest(words.into_iter()),
        }
    }

    /// Has it put on record. Returns whether it may be granted.
    pub(crate) fn hold(&self, net: Net<'_>) -> bool {
        if LATELY.has(self.lately) {
            return true;
        }
        let Some(tracker) = Tracker::in_net(net) else {
            return true;
        };
        let (is_held, may_be) = tracker.hold(self.client, &self.export, LIMIT, false);
        if is_held {
            LATELY.add(self.lately);
        }
        may_be
    }
}
