// SPDX-License-Identifier: GPL-2.0
//! Clients of NLM: who has come, and who is gone.

use super::{Batch, Store};
use crate::control::{NlmClient, NlmPeer};
use crate::records::nlm::{caller, NlmRecord};
use crate::records::Error;
use crate::scope::Fsid;
use rusqlite::OptionalExtension;
use std::collections::HashSet;

/// How long a client stays on record that lockd has forgotten, in seconds. It has nothing here if lockd went on all
/// the time, but if this machine has booted since, the client may not have heard of it yet.
const KEPT: i64 = 7 * 24 * 60 * 60;

/// A client of NLM on record, by its number.
pub type NlmId = i64;

impl Store {
    /// How many clients of NLM are on record that lockd has not forgotten, as far as that was seen.
    pub fn nlm_len(&self) -> Result<usize, Error> {
        let sql = "SELECT count(*) FROM nlm WHERE gone IS NULL";
        let rows: rusqlite::Result<i64> = self.connection.query_row(sql, (), |row| row.get(0));
        Ok(self.result(rows)? as usize)
    }

    /// Those of these clients that are to be stored: they are not on record, or as gone.
    pub fn nlm_missing(&self, clients: &[NlmClient]) -> Result<Vec<NlmClient>, Error> {
        let sql =
            "SELECT 1 FROM nlm WHERE export = ?1 AND server = ?2 AND client = ?3 AND version = ?4
            AND gone IS NULL";
        let missing = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut missing = Vec::new();
            for one in clients {
                let (export, server, client) = words(one);
                let there: Option<i64> = statement
                    .query_row((export, server, client, one.peer.version), |row| row.get(0))
                    .optional()?;
                missing.extend(there.is_none().then(|| one.clone()));
            }
            Ok(missing)
        };
        self.result(missing())
    }

    /// Those on record that are not among the clients that lockd knows, `most` at most.
    pub fn nlm_gone(
        &self,
        there: &HashSet<(Fsid, NlmPeer)>,
        most: usize,
    ) -> Result<Vec<NlmId>, Error> {
        let gone = || {
            let columns = NlmRecord::COLUMNS;
            let sql = format!("SELECT {columns}, id FROM nlm WHERE gone IS NULL");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query(())?;
            let mut gone = Vec::new();
            while let Some(row) = rows.next()? {
                let known = NlmRecord::of_row(row)?;
                if !known.is_some_and(|one| there.contains(&(one.fsid, one.peer))) {
                    gone.push(row.get(7)?);
                }
                if gone.len() == most {
                    break;
                }
            }
            Ok(gone)
        };
        self.result(gone())
    }
}

impl Batch<'_> {
    /// Stores a client of NLM: it has come, or has come again.
    pub fn store_nlm(&mut self, one: &NlmClient) -> Result<(), Error> {
        let sql = "INSERT INTO nlm (export, server, client, version, caller, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (export, server, client, version) DO UPDATE SET caller = excluded.caller,
                since = excluded.since, gone = NULL WHERE gone IS NOT NULL";
        let (export, server, client) = words(one);
        let caller = caller(&one.caller);
        let values = (export, server, client, one.peer.version, caller, self.now);
        self.execute(sql, values).map(drop)
    }

    /// lockd has forgotten these. Who was forgotten a week ago is removed, `most` at a time.
    pub fn forget_nlm(&mut self, gone: &[NlmId], most: usize) -> Result<(), Error> {
        for id in gone {
            self.execute("UPDATE nlm SET gone = ?1 WHERE id = ?2", (self.now, id))?;
        }
        let sql = "DELETE FROM nlm WHERE id IN (SELECT id FROM nlm WHERE gone <= ?1 LIMIT ?2)";
        self.execute(sql, (self.now - KEPT, most as i64)).map(drop)
    }
}

/// The export, the server's address and the client's, as they are stored.
fn words(one: &NlmClient) -> (String, String, String) {
    let NlmPeer { server, client, .. } = one.peer;
    (one.fsid.to_string(), server.to_string(), client.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::NlmClients;
    use crate::records::{NlmRecord, Reader};
    use rusqlite::Connection;
    use std::path::PathBuf;

    /// The lines of nlm_clients, each `FSID SERVER CLIENT`.
    fn clients(lines: &[&str]) -> Vec<NlmClient> {
        let lines = lines.iter().map(|line| format!("{line} 4 - - - name -\n"));
        let text = format!("sequence 1\n{}", lines.collect::<String>());
        NlmClients::parse(&text).unwrap().clients
    }

    const ONE: &str = "1234 192.0.2.50 192.0.2.17";
    const TWO: &str = "dev:8:1 fd00::50 fd00::17";

    fn made() -> (tempfile::TempDir, PathBuf, Store) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let store = Store::open(&file).unwrap().0;
        (directory, file, store)
    }

    fn came(store: &mut Store, lines: &[&str]) {
        let missing = store.nlm_missing(&clients(lines)).unwrap();
        let mut batch = store.begin().unwrap();
        missing.iter().for_each(|one| batch.store_nlm(one).unwrap());
        batch.commit().unwrap();
    }

    /// lockd knows only these: how many are gone.
    fn looked(store: &mut Store, lines: &[&str], most: usize) -> usize {
        let there = clients(lines);
        let there = there.iter().map(|one| (one.fsid, one.peer)).collect();
        let gone = store.nlm_gone(&there, most).unwrap();
        let mut batch = store.begin().unwrap();
        batch.forget_nlm(&gone, most).unwrap();
        batch.commit().unwrap();
        gone.len()
    }

    fn all(file: &std::path::Path) -> Vec<NlmRecord> {
        Reader::open(file).unwrap().nlm().unwrap()
    }

    #[test]
    fn who_comes_is_stored_once() {
        let (_directory, file, mut store) = made();
        assert_eq!(store.nlm_missing(&clients(&[ONE, TWO])).unwrap().len(), 2);
        came(&mut store, &[ONE, TWO, ONE]);
        assert_eq!(store.nlm_missing(&clients(&[ONE, TWO])).unwrap(), []);
        came(&mut store, &[ONE, TWO]);
        let seen: Vec<_> = all(&file)
            .iter()
            .map(|one| format!("{} {} {}", one.fsid, one.peer, one.caller))
            .collect();
        let expected = [
            "1234 192.0.2.50 192.0.2.17 4 name",
            "dev:8:1 fd00::50 fd00::17 4 name",
        ];
        assert_eq!(seen, expected);
        assert_eq!(store.nlm_len().unwrap(), 2);
        // Another export, address or version is another record.
        let others = ["5678 192.0.2.50 192.0.2.17", "1234 192.0.2.51 192.0.2.17"];
        came(&mut store, &others);
        assert_eq!(all(&file).len(), 4);
    }

    #[test]
    fn who_is_gone_is_kept_for_a_week_and_may_come_back() {
        let (_directory, file, mut store) = made();
        came(&mut store, &[ONE, TWO]);
        assert_eq!(looked(&mut store, &[ONE, TWO], 9), 0);
        assert_eq!(looked(&mut store, &[ONE], 9), 1);
        assert_eq!(looked(&mut store, &[ONE], 9), 0, "it was seen already");
        let gone: Vec<_> = all(&file).iter().map(|one| one.gone.is_some()).collect();
        assert_eq!(gone, [false, true]);
        assert_eq!(store.nlm_len().unwrap(), 1);
        came(&mut store, &[TWO]);
        assert!(all(&file).iter().all(|one| one.gone.is_none()));
        // All are gone, as after a boot, in parts.
        assert_eq!(looked(&mut store, &[], 1), 1);
        assert_eq!(looked(&mut store, &[], 1), 1);
        assert_eq!(all(&file).len(), 2);
        let other = Connection::open(&file).unwrap();
        let sql = "UPDATE nlm SET gone = gone - ?1";
        other.execute(sql, (KEPT - 100,)).unwrap();
        looked(&mut store, &[], 1);
        assert_eq!(all(&file).len(), 2);
        other
            .execute("UPDATE nlm SET gone = gone - 100", ())
            .unwrap();
        looked(&mut store, &[], 1);
        assert_eq!(all(&file).len(), 1);
    }

    #[test]
    fn a_name_is_what_a_client_likes() {
        let (_directory, file, mut store) = made();
        let mut two = clients(&[ONE, TWO]);
        two[0].caller = "x".repeat(5000);
        two[1].caller = "\u{1b}[2J".into();
        let mut batch = store.begin().unwrap();
        two.iter().for_each(|one| batch.store_nlm(one).unwrap());
        batch.commit().unwrap();
        let names: Vec<_> = all(&file).into_iter().map(|one| one.caller).collect();
        assert_eq!(names, ["x".repeat(255), String::new()]);
    }

    #[test]
    fn an_odd_row_is_no_client_and_is_gone() {
        let (_directory, file, mut store) = made();
        came(&mut store, &[ONE]);
        let sql = "INSERT INTO nlm (export, server, client, version, caller, since) VALUES
            ('../..', '192.0.2.50', '192.0.2.17', 4, '', 0), ('1', 'x', '192.0.2.17', 4, '', 0),
            ('1', '192.0.2.50', '', 4, '', 0), ('1', '192.0.2.50', '192.0.2.17', 2, '', 0)";
        Connection::open(&file).unwrap().execute(sql, ()).unwrap();
        assert_eq!(all(&file).len(), 1);
        assert_eq!(looked(&mut store, &[ONE], 9), 4);
    }
}
