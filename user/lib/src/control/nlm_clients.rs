// SPDX-License-Identifier: GPL-2.0
//! `nlm_clients`: what each NLM client holds on each export (`rust/nlm/lines.rs`).

use super::{count, dash};
use crate::amount::Amount;
use crate::scope::Fsid;
use std::fmt;
use std::net::IpAddr;

/// A client of NLM and the server's address that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct NlmPeer {
    /// The server's address.
    pub server: IpAddr,
    /// The client's address.
    pub client: IpAddr,
    /// NLM's version: 1, 3 or 4.
    pub version: u32,
}

impl NlmPeer {
    /// Reads three words.
    pub(crate) fn parse<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut address = || Some(words.next()?.parse::<IpAddr>().ok()?.to_canonical());
        let (server, client) = (address()?, address()?);
        let version = words.next()?;
        if !["1", "3", "4"].contains(&version) {
            return None;
        }
        Some(Self {
            server,
            client,
            version: version.parse().ok()?,
        })
    }
}

/// `SERVER CLIENT VERSION`
impl fmt::Display for NlmPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.server, self.client, self.version)
    }
}

/// What an NLM client holds on an export. Counts are `None` while lockd starts or stops, or a release
/// goes on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NlmClient {
    /// The export.
    pub fsid: Fsid,
    /// The client, and the server's address that it uses.
    #[serde(flatten)]
    pub peer: NlmPeer,
    /// Locked ranges.
    pub locks: Option<u64>,
    /// Requests that wait for a lock.
    pub blocks: Option<u64>,
    /// Shares.
    pub shares: Option<u64>,
    /// The name that the client gives itself, as visible ASCII with `\xHH` for other bytes. It proves
    /// nothing, and may be empty.
    pub caller: String,
    /// How much it holds, in all.
    pub holds: Option<Amount>,
}

/// The clients of NLM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NlmClients {
    /// The number of the last change: who writes it back says that all up to there is on stable storage.
    pub sequence: u64,
    /// They, also those who hold nothing now.
    pub clients: Vec<NlmClient>,
}

impl NlmClients {
    /// What the file says: `sequence NUMBER`, then the lines. Fails with a line that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let sequence = first
            .strip_prefix("sequence ")
            .and_then(|number| number.parse().ok());
        let clients = lines.map(|line| NlmClient::parse(line).ok_or_else(|| line.to_owned()));
        Ok(Self {
            sequence: sequence.ok_or_else(|| first.to_owned())?,
            clients: clients.collect::<Result<_, _>>()?,
        })
    }
}

impl NlmClient {
    /// `FSID SERVER CLIENT VERSION LOCKS BLOCKS SHARES NAME HOLDS`
    fn parse(line: &str) -> Option<Self> {
        // A name may be empty; then two spaces follow each other.
        let mut words = line.split(' ');
        let fsid = words.next()?.parse().ok()?;
        let peer = NlmPeer::parse(&mut words)?;
        let mut next = || words.next();
        Some(Self {
            fsid,
            peer,
            locks: count(next()?)?,
            blocks: count(next()?)?,
            shares: count(next()?)?,
            caller: next()?.to_owned(),
            holds: dash(next()?)?,
        })
    }
}
