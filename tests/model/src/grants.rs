// SPDX-License-Identifier: GPL-2.0

//! As `rust/tracking/grants.rs`: what a request asks to be granted is put on record before.

use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::params::LIMIT;
use crate::base::recent::{Digest, Recent};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::scopes::place::ExportId;
use crate::tracking::tracker::Tracker;

static LATELY: Global<Recent<64>> = Global::new();

impl Default for Recent<64> {
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
    reclaims: bool,
    lately: Digest,
}

impl<'a> Grant<'a> {
    /// For a client, or one of NLM.
    pub(crate) fn new(client: Option<&'a Nfs4Client>, export: ExportId, reclaims: bool) -> Self {
        // The first one is mixed with how often all were forgotten: it alone does not tell exports apart.
        let number = u64::from(export.file_system[0]);
        let words = [number, number, client.map_or(0, Nfs4Client::id)];
        Grant {
            client,
            export,
            reclaims,
            lately: LATELY.digest(words.into_iter()),
        }
    }

    /// How long it waits for its hold when lockd or nfsd asks: a lock of NLM has been prepared.
    pub(crate) fn patience(&self) -> u32 {
        self.client.map_or(0, |_| LIMIT)
    }

    /// Has it put on record. Returns whether it may be granted.
    pub(crate) fn hold(&self, net: Net<'_>, limit: u32) -> bool {
        if LATELY.has(self.lately) {
            return true;
        }
        let Some(tracker) = Tracker::in_net(net) else {
            return true;
        };
        let (is_held, may_be) = tracker.hold(self.client, &self.export, limit, self.reclaims);
        if is_held {
            LATELY.add(self.lately);
        }
        may_be
    }
}
