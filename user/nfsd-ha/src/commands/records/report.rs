// SPDX-License-Identifier: GPL-2.0
//! What is printed as JSON.

use nfsd_ha::owner::Owner;
use nfsd_ha::records::{self, ExportName, Fault, HoldRecord, NlmRecord, Record, Start};
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
    pub exports: Option<u64>,
}

impl Client {
    /// `exports`: on how many it holds something, if that is on record.
    pub fn new(record: Record, exports: Option<u64>) -> Self {
        Self {
            client: record.client.owner,
            address: record.client.address,
            minor: record.client.minor,
            principal: record.client.principal.map(|hash| hex(&hash)),
            since: record.since,
            epoch: record.epoch,
            may_reclaim: record.may_reclaim,
            exports,
        }
    }
}

/// A client on record, and what it holds.
#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    pub client: Client,
    pub holds: Option<Vec<Hold>>,
}

/// An export that somebody has state on.
#[derive(Serialize)]
pub struct Hold {
    pub client: Option<Owner>,
    pub export: ExportName,
    pub file_system: Option<String>,
    pub since: i64,
    pub epoch: records::Epoch,
    pub counts: bool,
}

impl From<HoldRecord> for Hold {
    fn from(record: HoldRecord) -> Self {
        Self {
            client: record.hold.owner,
            export: record.hold.export,
            file_system: record.hold.file_system.map(|uuid| uuid.to_string()),
            since: record.since,
            epoch: record.epoch,
            counts: record.counts,
        }
    }
}

/// All that is on record.
#[derive(Serialize)]
pub struct All {
    pub version: i64,
    pub epochs: Vec<Start>,
    pub clients: Vec<Client>,
    pub holds: Option<Vec<Hold>>,
    pub nlm: Option<Vec<NlmRecord>>,
    pub connections: Option<Vec<Connected>>,
}

/// A client of NLM on record.
#[derive(Serialize)]
pub struct ShownNlm {
    pub nlm: Vec<NlmRecord>,
    pub connections: Vec<Connected>,
}

/// A connection to a floating address.
#[derive(Serialize)]
pub struct Connected {
    pub server: IpAddr,
    pub server_port: u16,
    pub client: IpAddr,
    pub client_port: u16,
    pub since: i64,
}

impl From<records::Connected> for Connected {
    fn from(record: records::Connected) -> Self {
        let (server, client) = (record.connection.server(), record.connection.client());
        Self {
            server: server.ip(),
            server_port: server.port(),
            client: client.ip(),
            client_port: client.port(),
            since: record.since,
        }
    }
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
