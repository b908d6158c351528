// SPDX-License-Identifier: GPL-2.0
//! What whoever takes over needs besides: clients of NLM, and connections.

use super::report::{Connected, ShownNlm};
use crate::failure::{Failure, Status};
use crate::output::{or_dash, time, Table};
use anyhow::Result;
use nfsd_ha::records::{NlmRecord, Reader};
use std::net::IpAddr;

/// The connections on record.
pub fn connections(reader: &Reader) -> Result<Vec<Connected>> {
    let all = reader.connections()?.into_iter();
    Ok(all.map(Connected::from).collect())
}

/// What is known of a client of NLM.
pub fn client(reader: &Reader, client: IpAddr) -> Result<ShownNlm> {
    let client = client.to_canonical();
    let mut nlm = reader.nlm()?;
    nlm.retain(|one| one.peer.client == client);
    let mut connections = connections(reader)?;
    connections.retain(|one| one.client == client);
    if nlm.is_empty() && connections.is_empty() {
        let text =
            format!("{client} is not on record: nfsd-ha records list --nlm says who of NLM is");
        return Err(Failure::new(Status::Failed, text));
    }
    Ok(ShownNlm { nlm, connections })
}

/// Clients of NLM, for people.
pub fn table(clients: &[NlmRecord]) -> Table {
    let title = "clients of NLM, to be told after a crash";
    let columns = [
        "export", "server", "client", "version", "since", "gone", "caller",
    ];
    let mut table = Table::new(title, &columns);
    for one in clients {
        let caller = Some(&one.caller).filter(|name| !name.is_empty());
        table.row([
            one.fsid.to_string(),
            one.peer.server.to_string(),
            one.peer.client.to_string(),
            one.peer.version.to_string(),
            time::utc(one.since),
            or_dash(one.gone.map(time::utc)),
            or_dash(caller),
        ]);
    }
    table
}

/// Connections, for people.
pub fn connections_table(connections: &[Connected]) -> Table {
    let columns = ["server", "#port", "client", "#port", "since"];
    let mut table = Table::new("connections to floating addresses", &columns);
    for one in connections {
        table.row([
            one.server.to_string(),
            one.server_port.to_string(),
            one.client.to_string(),
            one.client_port.to_string(),
            time::utc(one.since),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use nfsd_ha::control::NlmClients;
    use nfsd_ha::records::Store;

    fn made() -> (tempfile::TempDir, Reader) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut batch = store.begin().unwrap();
        let lines = "sequence 2\n1234 192.0.2.50 192.0.2.17 4 - - - a\\x1b -\n1234 fd00::50 fd00::17 4 - - -  -\n";
        for one in NlmClients::parse(lines).unwrap().clients {
            batch.store_nlm(&one).unwrap();
        }
        let connection = "192.0.2.50:2049 192.0.2.17:878".parse().unwrap();
        let address = "192.0.2.50".parse().unwrap();
        batch.store_connections(&[address], &[connection]).unwrap();
        batch.commit().unwrap();
        (directory, Reader::open(&file).unwrap())
    }

    /// The words of each row.
    fn words(table: &Table) -> Vec<Vec<String>> {
        let text = table.to_string();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().skip(2).map(words).collect()
    }

    #[test]
    fn each_has_a_line() {
        let (_directory, reader) = made();
        let rows = words(&table(&reader.nlm().unwrap()));
        assert_eq!(rows[0][..4], ["1234", "192.0.2.50", "192.0.2.17", "4"]);
        assert_eq!(rows[0][5..], ["-", "a\\x1b"]);
        assert_eq!(rows[1][..4], ["1234", "fd00::50", "fd00::17", "4"]);
        assert_eq!(rows[1][5..], ["-", "-"]);
        let rows = words(&connections_table(&connections(&reader).unwrap()));
        assert_eq!(rows[0][..4], ["192.0.2.50", "2049", "192.0.2.17", "878"]);
    }

    #[test]
    fn a_client_is_shown_by_its_address() {
        let (_directory, reader) = made();
        let known = |address: &str| {
            let shown = client(&reader, address.parse().unwrap()).unwrap();
            (shown.nlm.len(), shown.connections.len())
        };
        assert_eq!(known("::ffff:192.0.2.17"), (1, 1));
        assert_eq!(known("fd00::17"), (1, 0));
        let error = client(&reader, "192.0.2.50".parse().unwrap())
            .err()
            .unwrap();
        assert!(error.to_string().contains("not on record"), "{error}");
    }
}
