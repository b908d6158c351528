// SPDX-License-Identifier: GPL-2.0

//! nfsd's clients and their state.

pub(crate) mod client_table;
pub(crate) mod clientids;
pub(crate) mod delegations;
pub(crate) mod due;
pub(crate) mod floating;
pub(crate) mod former;
pub(crate) mod formers;
pub(crate) mod handover;
pub(crate) mod held;
pub(crate) mod identity;
pub(crate) mod in_use;
pub(crate) mod lock_owner;
pub(crate) mod look;
pub(crate) mod nfs4_client;
pub(crate) mod nfs4_clients;
pub(crate) mod nfs4_release;
pub(crate) mod nfsd;
pub(crate) mod reclaim;
pub(crate) mod reclaim_line;
pub(crate) mod reclaimers;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod returned;
pub(crate) mod server;
pub(crate) mod stateids;
pub(crate) mod transports;
