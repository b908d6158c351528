// SPDX-License-Identifier: GPL-2.0
//! From another daemon's database to records: nobody loses a lock when nfsd-had comes in place of nfsdcld.
//!
//! Who was on record there gets an epoch of its own here, whose grace period is over: after the next start, these
//! may reclaim, and nobody else. If the server is in its grace period, who has not come back yet gets that epoch, and who
//! has gets another one, which goes on: if the server runs on, and its grace period ends, only the latter stay.
//!
//! Records of two daemons are never mixed: nobody could say whose are older.

use super::{Batch, Client, Error, Hold, Store};
use crate::checks::{self, Tree};
use crate::control::NlmClient;
use crate::database::{self, Database, Standing};
use crate::owner::Owner;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Clients that may reclaim there, and so here.
    pub clients: u64,
    /// Of these, clients that have not come back yet in the server's grace period.
    pub waiting: u64,
    /// Clients of NLM that are on record there, once for each export and address of the server that they have used.
    pub nlm: u64,
    /// Was anything changed? If not, all of them were on record here already.
    pub changed: bool,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The other daemon's database.
    #[error(transparent)]
    From(#[from] database::Error),
    /// It may change meanwhile.
    #[error(
        "{} is open for writing, as by nfsdcld while that runs: end that first, so that it does not change any more \
         (fuser says what has it open)",
        .0.display()
    )]
    Written(PathBuf),
    /// The records.
    #[error(transparent)]
    To(#[from] Error),
    /// There are others on record.
    #[error(
        "{} has {clients} clients on record already, who are not those to be imported ({missing} of these are not among \
         them): if its records are old, move it away, with its -wal, and repeat this",
        .file.display()
    )]
    Others {
        /// The file.
        file: PathBuf,
        /// How many clients may reclaim by it.
        clients: u64,
        /// How many would come to it.
        missing: u64,
    },
}

/// Stores who may reclaim by another daemon's database, if nobody is on record yet. To repeat it changes nothing.
///
/// Fails if a process of this machine can write there, as far as procfs tells, before a new file is made.
pub fn import(from: &Database, to: &Path) -> Result<Imported, ImportError> {
    // nfsdcld has its database open as long as it runs.
    let is_written = |file: PathBuf| checks::writes(&Tree::new("/"), &file).unwrap_or(false);
    if from.file().canonicalize().is_ok_and(is_written) {
        return Err(ImportError::Written(from.file().to_owned()));
    }
    let (mut to, _) = Store::open(to)?;
    let mut found: HashMap<Owner, (Client, Standing)> = HashMap::new();
    from.clients(|client, standing| {
        let stored = matches!(found.get(&client.owner), Some((_, Standing::Stored)));
        if !stored {
            found.insert(client.owner.clone(), (client, standing));
        }
    })?;
    let (mut stored, mut waiting) = (Part::default(), Part::default());
    for (client, standing) in found.values() {
        match standing {
            Standing::Stored => stored.clients.push(client.clone()),
            Standing::Waiting => waiting.clients.push(client.clone()),
        }
    }
    // That these are all is not taken over: what goes on between the two daemons, nobody has stored.
    from.holds(|hold, standing| match standing {
        Standing::Stored => stored.holds.push(hold),
        Standing::Waiting => waiting.holds.push(hold),
    })?;
    let nlm: Vec<NlmClient> = from.nlm()?.into_iter().map(NlmClient::from).collect();
    let imported = Imported {
        clients: found.len() as u64,
        waiting: waiting.clients.len() as u64,
        nlm: nlm.len() as u64,
        changed: false,
    };
    let mut known = HashSet::new();
    to.each(|client| {
        known.insert(client.owner);
        true
    })?;
    let missing = found.keys().filter(|owner| !known.contains(owner)).count() as u64;
    let are_there = missing == 0 && known.len() == found.len();
    // Who must be told is told by whichever record: these may be mixed.
    let nlm = to.nlm_missing(&nlm)?;
    // Another daemon had the server meanwhile: what was held then is not all on record.
    let mut batch = to.begin()?;
    batch.doubt_holds()?;
    batch.commit()?;
    if are_there && nlm.is_empty() {
        return Ok(imported);
    }
    if !are_there && !known.is_empty() {
        return Err(ImportError::Others {
            file: to.file().to_owned(),
            clients: known.len() as u64,
            missing,
        });
    }
    let mut batch = to.begin()?;
    nlm.iter().try_for_each(|one| batch.store_nlm(one))?;
    if are_there {
        // Nothing else is missing.
    } else if waiting == Part::default() {
        stored.store_ended(&mut batch)?;
    } else {
        waiting.store_ended(&mut batch)?;
        batch.begin_epoch()?;
        stored.store(&mut batch)?;
    }
    batch.commit()?;
    Ok(Imported {
        changed: true,
        ..imported
    })
}

/// What comes to one epoch.
#[derive(Default, PartialEq, Eq)]
struct Part {
    clients: Vec<Client>,
    holds: Vec<Hold>,
}

impl Part {
    fn store(&self, batch: &mut Batch<'_>) -> Result<(), Error> {
        self.clients
            .iter()
            .try_for_each(|client| batch.store(client))?;
        self.holds.iter().try_for_each(|hold| batch.hold(hold))
    }

    /// Stores it in an epoch of its own that is over.
    fn store_ended(&self, batch: &mut Batch<'_>) -> Result<(), Error> {
        let epoch = batch.begin_epoch()?;
        self.store(batch)?;
        batch.end_grace(epoch).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::NlmClients;
    use crate::records::{export, Reader};
    use rusqlite::Connection;

    const GRACE: &str = "CREATE TABLE parameters (key TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE grace (current INTEGER, recovery INTEGER);
        CREATE TABLE \"rec-0000000000000004\" (id BLOB PRIMARY KEY, princhash BLOB);
        CREATE TABLE \"rec-0000000000000005\" (id BLOB PRIMARY KEY, princhash BLOB);
        INSERT INTO \"rec-0000000000000004\" VALUES (CAST('away' AS BLOB), NULL), (CAST('back' AS BLOB), NULL);
        INSERT INTO \"rec-0000000000000005\" VALUES (CAST('back' AS BLOB), zeroblob(32));";

    /// Another daemon's database, and the records to be.
    fn places(sql: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path().join("there");
        std::fs::create_dir(&there).unwrap();
        let made = Connection::open(there.join("main.sqlite")).unwrap();
        made.execute_batch(sql).unwrap();
        let file = directory.path().join("records.sqlite");
        (directory, there, file)
    }

    fn imported(from: &Path, to: &Path) -> Result<Imported, ImportError> {
        import(&Database::of_other(from)?, to)
    }

    /// How many are on record who are not those to be imported, and how many of these are missing.
    fn others(result: Result<Imported, ImportError>) -> (u64, u64) {
        match result {
            Err(ImportError::Others {
                clients, missing, ..
            }) => (clients, missing),
            other => panic!("{other:?}"),
        }
    }

    fn who(store: &Store) -> Vec<String> {
        let mut who = Vec::new();
        let tell = |client: Client| {
            who.push(client.owner.to_string());
            true
        };
        store.each(tell).unwrap();
        who.sort();
        who
    }

    fn batch<T>(store: &mut Store, change: impl Fn(&mut Batch<'_>) -> Result<T, Error>) {
        let mut batch = store.begin().unwrap();
        change(&mut batch).unwrap();
        batch.commit().unwrap();
    }

    #[test]
    fn who_could_reclaim_there_may_do_so_here() {
        for (sql, all) in [
            ("INSERT INTO grace VALUES (5, 4)", &["away", "back"][..]),
            // That of before is a leftover.
            ("INSERT INTO grace VALUES (5, '0')", &["back"]),
        ] {
            let (_directory, there, file) = places(&format!("{GRACE} {sql}"));
            assert!(imported(&there, &file).unwrap().changed, "{sql}");
            let mut store = Store::open(&file).unwrap().0;
            assert_eq!(who(&store), all, "{sql}");
            batch(&mut store, |batch| batch.begin_epoch());
            assert_eq!(who(&store), all, "{sql}");
            let epoch = store.epoch();
            batch(&mut store, |batch| batch.end_grace(epoch));
            assert!(who(&store).is_empty());
        }
    }

    #[test]
    fn a_grace_period_that_goes_on_may_end() {
        let (_directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 4)"));
        let told = imported(&there, &file).unwrap();
        assert_eq!((told.clients, told.waiting), (2, 1));
        let mut store = Store::open(&file).unwrap().0;
        let epoch = store.epoch();
        batch(&mut store, |batch| batch.end_grace(epoch));
        assert_eq!(who(&store), ["back"]);
    }

    #[test]
    fn what_was_held_meanwhile_is_not_known() {
        let (_directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 4)"));
        imported(&there, &file).unwrap();
        let is_all_held = || {
            let mut store = Store::open(&file).unwrap().0;
            let held = store.begin().unwrap().is_all_held().unwrap();
            held
        };
        let mut store = Store::open(&file).unwrap().0;
        batch(&mut store, |batch| batch.all_held(u64::MAX));
        drop(store);
        assert!(is_all_held());
        imported(&there, &file).unwrap();
        assert!(!is_all_held());
    }

    #[test]
    fn to_repeat_it_changes_nothing() {
        let (_directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 4)"));
        imported(&there, &file).unwrap();
        let before = std::fs::read(&file).unwrap();
        assert!(!imported(&there, &file).unwrap().changed);
        assert_eq!(std::fs::read(&file).unwrap(), before);
        // One has gone since, and is not brought back.
        let mut store = Store::open(&file).unwrap().0;
        batch(&mut store, |batch| {
            batch.remove(&Owner::new("away").unwrap())
        });
        drop(store);
        assert_eq!(others(imported(&there, &file)), (1, 1));
        assert_eq!(who(&Store::open(&file).unwrap().0), ["back"]);
    }

    #[test]
    fn old_records_are_not_taken_for_those_that_were_imported() {
        let (_directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 0)"));
        let mut store = Store::open(&file).unwrap().0;
        batch(&mut store, |batch| {
            batch.begin_epoch()?;
            for name in ["back", "expired since"] {
                batch.store(&Client::new(Owner::new(name).unwrap(), None))?;
            }
            Ok(())
        });
        drop(store);
        assert_eq!(others(imported(&there, &file)), (2, 0));
    }

    #[test]
    fn the_daemon_has_to_be_ended_first() {
        let (_directory, there, file) = places(GRACE);
        let _daemon = Store::open(&file).unwrap();
        let error = imported(&there, &file).unwrap_err();
        assert!(matches!(error, ImportError::To(Error::InUse(_))), "{error}");
    }

    #[test]
    fn nfsdcld_has_to_be_ended_first() {
        let (_directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 0)"));
        let nfsdcld = Connection::open(there.join("main.sqlite")).unwrap();
        for from in [there.clone(), there.join("main.sqlite")] {
            let error = imported(&from, &file).unwrap_err();
            assert!(matches!(error, ImportError::Written(_)), "{error}");
        }
        assert!(!file.exists());
        drop(nfsdcld);
        assert!(imported(&there, &file).unwrap().changed);
    }

    #[test]
    fn what_is_held_comes_along_and_not_that_this_is_all() {
        let (directory, _, file) = places("");
        let saved = directory.path().join("saved.sqlite");
        drop(Store::open(&saved).unwrap());
        let sql = "INSERT INTO epochs VALUES (1, 1, 1, 1, NULL), (2, 2, 2, 2, 9), (3, 3, NULL, 3, 9223372036854775807);
            INSERT INTO clients (name, since, epoch) VALUES (CAST('away' AS BLOB), 0, 2), (CAST('back' AS BLOB), 0, 3);
            INSERT INTO holds VALUES (CAST('away' AS BLOB), '1', x'', 2, 0), (CAST('back' AS BLOB), '2', x'', 2, 0),
                (CAST('back' AS BLOB), '3', zeroblob(16), 3, 0), (x'', '4', x'', 3, 0), (x'', '5', x'', 1, 0)";
        Connection::open(&saved)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let told = imported(&saved, &file).unwrap();
        assert_eq!((told.clients, told.waiting), (2, 1));
        let mut store = Store::open(&file).unwrap().0;
        let held = |store: &Store| {
            let held = store.held().unwrap().unwrap();
            let names = held.into_keys().map(|(export, _)| export.to_string());
            names.collect::<Vec<_>>()
        };
        assert_eq!(held(&store), ["1", "2", "3", "4"]);
        let starts = Reader::open(&file).unwrap().starts().unwrap();
        for start in starts {
            assert_eq!((start.held_from, start.held_until), (None, None));
        }
        // What waits for the end of the grace period still does.
        let epoch = store.epoch();
        batch(&mut store, |batch| batch.end_grace(epoch));
        assert_eq!(held(&store), ["3", "4"]);
    }

    #[test]
    fn a_grace_period_goes_on_in_which_all_are_back_and_not_all_they_hold() {
        let (directory, _, file) = places("");
        let saved = directory.path().join("saved.sqlite");
        drop(Store::open(&saved).unwrap());
        let sql = "INSERT INTO epochs (epoch, started, ended) VALUES (2, 2, 2), (3, 3, NULL);
            INSERT INTO clients (name, since, epoch) VALUES (CAST('back' AS BLOB), 0, 3);
            INSERT INTO holds VALUES (CAST('back' AS BLOB), '2', x'', 2, 0)";
        Connection::open(&saved)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        assert_eq!(imported(&saved, &file).unwrap().waiting, 0);
        let mut store = Store::open(&file).unwrap().0;
        assert_eq!(store.held().unwrap().unwrap().len(), 1);
        let epoch = store.epoch();
        batch(&mut store, |batch| batch.end_grace(epoch));
        assert_eq!(who(&store), ["back"]);
        assert_eq!(store.held().unwrap().unwrap().len(), 0);
    }

    #[test]
    fn there_and_back() {
        let (directory, there, file) = places(&format!("{GRACE} INSERT INTO grace VALUES (5, 0)"));
        imported(&there, &file).unwrap();
        let reader = Reader::open(&file).unwrap();
        let back = directory.path().join("back");
        assert_eq!(export(&reader, &back).unwrap(), 1);
        let again = directory.path().join("again.sqlite");
        imported(&back, &again).unwrap();
        let clients = |file: &Path| {
            let mut clients = Vec::new();
            let reader = Reader::open(file).unwrap();
            reader.each(|record| clients.push(record.client)).unwrap();
            clients
        };
        assert_eq!(clients(&again), clients(&file));
        assert_eq!(clients(&again)[0].principal, Some([0; 32]));
    }

    #[test]
    fn who_must_be_told_is_taken_over_too() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["saved.sqlite", "records.sqlite"].map(|name| directory.path().join(name));
        let come = |file: &Path, client: &str| {
            let mut store = Store::open(file).unwrap().0;
            let text = format!("sequence 1\n1234 192.0.2.50 {client} 4 - - - name -\n");
            let mut batch = store.begin().unwrap();
            batch
                .store_nlm(&NlmClients::parse(&text).unwrap().clients[0])
                .unwrap();
            batch.commit().unwrap();
        };
        let import = || {
            let imported = imported(&from, &to).unwrap();
            (imported.nlm, imported.changed)
        };
        come(&from, "192.0.2.17");
        assert_eq!(import(), (1, true));
        assert_eq!(import(), (1, false));
        // Others may have come here meanwhile.
        come(&to, "192.0.2.18");
        come(&from, "192.0.2.19");
        assert_eq!(import(), (2, true));
        let all = Reader::open(&to).unwrap().nlm().unwrap();
        let clients: Vec<_> = all.iter().map(|one| one.peer.client.to_string()).collect();
        assert_eq!(clients, ["192.0.2.17", "192.0.2.18", "192.0.2.19"]);
        assert!(all.iter().all(|one| one.caller == "name"));
    }
}
