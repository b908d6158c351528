// SPDX-License-Identifier: GPL-2.0
//! Who is connected to floating addresses.

use super::Batch;
use crate::net::connections::Connection;
use crate::records::place::failed;
use crate::records::{Connected, Error};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

impl Batch<'_> {
    /// Stores who is connected to these addresses of the server now. What is on record of other addresses stays: they
    /// are not here, and somebody may have to know it.
    pub fn store_connections(
        &mut self,
        addresses: &[IpAddr],
        now: &[Connection],
    ) -> Result<(), Error> {
        let before = self.connections(addresses)?;
        let now: BTreeSet<_> = now.iter().copied().collect();
        let sql = "DELETE FROM connections WHERE server = ?1 AND server_port = ?2 AND client = ?3 AND client_port = ?4";
        for ended in before.difference(&now) {
            let (server, client) = (ended.server(), ended.client());
            self.execute(sql, values(server, client))?;
        }
        let sql = "INSERT INTO connections (server, server_port, client, client_port, since) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT DO NOTHING";
        for new in now.difference(&before) {
            let (server, port, client, client_port) = values(new.server(), new.client());
            self.execute(sql, (server, port, client, client_port, self.now))?;
        }
        Ok(())
    }

    fn connections(&self, addresses: &[IpAddr]) -> Result<BTreeSet<Connection>, Error> {
        let columns = Connected::COLUMNS;
        let sql = format!("SELECT {columns} FROM connections WHERE server = ?1");
        let connections = || {
            let mut statement = self.transaction.prepare_cached(&sql)?;
            let mut all = BTreeSet::new();
            for address in addresses {
                let mut rows = statement.query((address.to_string(),))?;
                while let Some(row) = rows.next()? {
                    all.extend(Connected::of_row(row)?.map(|one| one.connection));
                }
            }
            Ok(all)
        };
        connections().map_err(failed(self.file))
    }
}

/// The ends of a connection, as they are stored.
fn values(server: SocketAddr, client: SocketAddr) -> (String, u16, String, u16) {
    let (address, port) = (client.ip().to_string(), client.port());
    (server.ip().to_string(), server.port(), address, port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Reader, Store};

    fn connection(line: &str) -> Connection {
        line.parse().unwrap()
    }

    #[test]
    fn who_is_connected_now_is_on_record_for_addresses_that_are_here() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut store_them = |addresses: &[&str], now: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let now: Vec<_> = now.iter().map(|line| connection(line)).collect();
            let mut batch = store.begin().unwrap();
            batch.store_connections(&addresses, &now).unwrap();
            batch.commit().unwrap();
            let all = Reader::open(&file).unwrap().connections().unwrap();
            all.iter()
                .map(|one| one.connection.to_string())
                .collect::<Vec<_>>()
        };
        let (one, two) = (
            "192.0.2.50:2049 192.0.2.17:878",
            "[fd00::50]:2049 [fd00::17]:700",
        );
        let both = ["192.0.2.50", "fd00::50"];
        assert_eq!(store_them(&both, &[two, one]), [one, two]);
        assert_eq!(store_them(&both, &[one, two]), [one, two]);
        let again = "192.0.2.50:2049 192.0.2.17:879";
        assert_eq!(store_them(&both, &[again, two]), [again, two]);
        // The other one has left this node.
        assert_eq!(store_them(&["192.0.2.50"], &[]), [two]);
        assert_eq!(store_them(&[], &[]), [two]);
        assert_eq!(store_them(&["fd00::50"], &[]), [""; 0]);
    }

    #[test]
    fn one_that_stays_keeps_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let one = connection("192.0.2.50:2049 192.0.2.17:878");
        for more in [None, Some(connection("192.0.2.50:2049 192.0.2.18:878"))] {
            let now: Vec<_> = [one].into_iter().chain(more).collect();
            let mut batch = store.begin().unwrap();
            batch.store_connections(&[one.server().ip()], &now).unwrap();
            batch.commit().unwrap();
            let other = rusqlite::Connection::open(&file).unwrap();
            let earlier = "UPDATE connections SET since = 5 WHERE client = '192.0.2.17'";
            other.execute(earlier, ()).unwrap();
        }
        let all = Reader::open(&file).unwrap().connections().unwrap();
        assert_eq!((all[0].connection, all[0].since), (one, 5));
        assert!(all[1].since > 5);
    }
}
