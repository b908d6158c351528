// SPDX-License-Identifier: GPL-2.0
//! Clients of NLM and connections on record. Both are written by nfsd-had alone, and read from files that nobody trusts.

use crate::control::{NlmClient, NlmPeer};
use crate::net::connections::Connection;
use crate::scope::Fsid;
use rusqlite::Row;
use std::net::{IpAddr, SocketAddr};

/// How much of a client's own name is kept, in bytes. It is for people only.
pub(super) const CALLER_MAX: usize = 255;

/// A client of NLM on record: it must be told when somebody takes the export over, as it has had locks there, or was
/// about to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NlmRecord {
    /// The export.
    pub fsid: Fsid,
    /// The client, and the server's address that it uses.
    #[serde(flatten)]
    pub peer: NlmPeer,
    /// The name that the client gives itself, in visible ASCII, at most 255 bytes of it. It proves nothing, and may be
    /// empty.
    pub caller: String,
    /// When it was stored, in seconds since 1970.
    pub since: i64,
    /// When it was seen that lockd had forgotten it, if that is so: it is kept for some days.
    pub gone: Option<i64>,
}

/// A connection on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Between a floating address and a client.
    pub connection: Connection,
    /// When it was seen first, in seconds since 1970.
    pub since: i64,
}

/// As much of a client's own name as is kept.
pub(super) fn caller(name: &str) -> &str {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    match printable {
        true => &name[..name.len().min(CALLER_MAX)],
        false => "",
    }
}

impl NlmRecord {
    /// The columns of [`NlmRecord::of_row`].
    pub(super) const COLUMNS: &str = "export, server, client, version, caller, since, gone";

    /// A client of a row. `None` if that has none. Its name and times that are none are not known.
    pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let words = [0, 1, 2].map(|column| text(row, column));
        let [Some(fsid), Some(server), Some(client)] = words else {
            return Ok(None);
        };
        let version = row.get_ref(3)?.as_i64().unwrap_or_default().to_string();
        let mut words = [server, client, &version].into_iter();
        let (Ok(fsid), Some(peer)) = (fsid.parse(), NlmPeer::parse(&mut words)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            fsid,
            peer,
            caller: caller(text(row, 4).unwrap_or_default()).to_owned(),
            since: row.get_ref(5)?.as_i64().unwrap_or_default(),
            gone: row.get_ref(6)?.as_i64_or_null().unwrap_or_default(),
        }))
    }
}

/// As it came; what it holds is not on record.
impl From<NlmRecord> for NlmClient {
    fn from(record: NlmRecord) -> Self {
        Self {
            fsid: record.fsid,
            peer: record.peer,
            locks: None,
            blocks: None,
            shares: None,
            caller: record.caller,
            holds: None,
        }
    }
}

impl Connected {
    /// The columns of [`Connected::of_row`].
    pub(super) const COLUMNS: &str = "server, server_port, client, client_port, since";

    /// A connection of a row. `None` if that has none.
    pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let end = |column: usize| -> Option<SocketAddr> {
            let address: IpAddr = text(row, column)?.parse().ok()?;
            let port = row.get_ref(column + 1).ok()?.as_i64().ok()?;
            Some(SocketAddr::new(address, port.try_into().ok()?))
        };
        let (Some(server), Some(client)) = (end(0), end(2)) else {
            return Ok(None);
        };
        let since = row.get_ref(4)?.as_i64().unwrap_or_default();
        let connection = Connection::new(server, client);
        Ok(connection.map(|connection| Self { connection, since }))
    }
}

/// What a row has in a column, if that is text.
fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}
