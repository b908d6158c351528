// SPDX-License-Identifier: GPL-2.0
//! What is printed as JSON.

use nfsd_ha::owner::Owner;
use nfsd_ha::records::{self, Fault, Record, Start};
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// A client on record.
#[derive(Serialize)]
pub struct Client {
    pub client: Owner,
    pub address: Option<IpAddr>,
    pub minor: Option<u8>,
    pub principal: Option<String>,
    pub since: i64,
    pub epoch: records::Epoch,
    pub may_reclaim: bool,
}

impl From<Record> for Client {
    fn from(record: Record) -> Self {
        Self {
            client: record.client.owner,
            address: record.client.address,
            minor: record.client.minor,
            principal: record.client.principal.map(|hash| hex(&hash)),
            since: record.since,
            epoch: record.epoch,
            may_reclaim: record.may_reclaim,
        }
    }
}

/// All that is on record.
#[derive(Serialize)]
pub struct All {
    pub version: i64,
    pub epochs: Vec<Start>,
    pub clients: Vec<Client>,
}

/// What is wrong with a file.
#[derive(Serialize)]
pub struct Checked {
    pub faults: Vec<Fault>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // A string takes all.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
