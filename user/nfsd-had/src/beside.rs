// SPDX-License-Identifier: GPL-2.0
//! What is stored beside what upcalls ask for, in the same transaction: clients of NLM, and connections.

use nfsd_ha::control::NlmClient;
use nfsd_ha::net::connections::Connection;
use nfsd_ha::records::{Batch, Error, NlmId, Store};
use std::net::IpAddr;

/// How many rows are changed at a time, at most: upcalls wait meanwhile.
pub const PART: usize = 1024;

/// What is to be stored. Nothing happens if it is stored twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Clients of NLM that have come, [`PART`] at most.
    pub nlm: Vec<NlmClient>,
    /// Those that are gone, [`PART`] at most, when somebody has looked.
    pub gone: Option<Vec<NlmId>>,
    /// The addresses that are here, and who is connected to them, if that has changed.
    pub connections: Option<(Vec<IpAddr>, Vec<Connection>)>,
}

impl Beside {
    /// Is there nothing to store?
    pub fn is_empty(&self) -> bool {
        self.nlm.is_empty() && self.gone.is_none() && self.connections.is_none()
    }

    /// Adds it to a batch.
    pub fn add_to(&self, batch: &mut Batch<'_>) -> Result<(), Error> {
        self.nlm.iter().try_for_each(|one| batch.store_nlm(one))?;
        if let Some(gone) = &self.gone {
            batch.forget_nlm(gone, PART)?;
        }
        match &self.connections {
            Some((addresses, now)) => batch.store_connections(addresses, now),
            None => Ok(()),
        }
    }

    /// Stores it without upcalls. Returns when it is on the disk.
    pub fn store(&self, store: &mut Store) -> Result<(), Error> {
        let mut batch = store.begin()?;
        self.add_to(&mut batch)?;
        batch.commit()
    }
}
