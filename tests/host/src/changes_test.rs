// SPDX-License-Identifier: GPL-2.0

//! The table of changes, against a model of nfsd, the keeper and a daemon.

use crate::base::index::KeyedHash;
use crate::nfs4::record::Client;
use crate::scopes::place::ExportId;
use crate::scopes::scope::Fsid;
use crate::tracking::changes::*;
use crate::tracking::cld::{Command, Details};
use crate::tracking::holds::Row;
use kernel::prelude::*;
use kernel::{fail_after, never_fail};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A hash with many collisions.
struct Weak;

impl KeyedHash for Weak {
    fn hash(&self, key: &[u8]) -> u64 {
        key.iter().map(|b| u64::from(*b)).sum::<u64>() % 7
    }
}

type Table = Changes<Weak, u32>;

fn client(name: &str) -> Client<'_> {
    Client {
        name: name.as_bytes(),
        hash: &[],
    }
}

/// The row of a client's record.
fn of_client(name: &[u8]) -> Row<'_> {
    Row { name, export: None }
}

fn store(table: &mut Table, client: Client<'_>, owner: u32) -> Result {
    let key = table.key(of_client(client.name));
    table.store(key, client, Details::default(), owner)
}

fn drop_record(table: &mut Table, name: &[u8], owner: u32, on_record: bool) -> Result<bool> {
    table.remove(table.key(of_client(name)), name, owner, on_record)
}

fn next(table: &mut Table, name: &[u8]) -> Next {
    let row = of_client(name);
    table.begin(table.key(row), row)
}

/// An upcall ends. Returns whose record is stored now; what that is of is no hold.
fn end(table: &mut Table, job: Job, done: bool) -> Option<u32> {
    table.end(job, done).map(|done| match done {
        Done::Stored(owner) => owner,
        Done::Held(..) => panic!("a hold"),
    })
}

fn begin(table: &mut Table, name: &str) -> Job {
    match next(table, name.as_bytes()) {
        Next::Upcall(job) => job,
        other => panic!("{name}: {other:?}"),
    }
}

/// Client 1 goes, and 2 of the same name is there.
fn pass_on(table: &mut Table, on_record: bool) -> Result<bool> {
    let key = table.key(of_client(b"a"));
    table.pass_on(key, client("a"), Details::default(), [1, 2], on_record)
}

#[test]
fn a_record_passes_to_who_has_come_back() {
    let mut table = Table::new(Weak);
    assert_eq!(pass_on(&mut table, false), Ok(false));
    assert_eq!(table.counts(), Counts::default());
    // The record is there.
    assert_eq!(pass_on(&mut table, true), Ok(true));
    let job = begin(&mut table, "a");
    assert_eq!(job.command, Command::Create);
    // It is wanted already.
    assert_eq!(pass_on(&mut table, true), Ok(false));
    assert_eq!(end(&mut table, job, true), Some(2));
    // It is to be removed.
    drop_record(&mut table, b"a", 3, true).unwrap();
    assert_eq!(pass_on(&mut table, false), Ok(true));
    let job = begin(&mut table, "a");
    assert_eq!(
        (job.command, end(&mut table, job, true)),
        (Command::Create, Some(2))
    );
    // It is on its way for the one that goes, which needs no memory: nobody hears of that one.
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    fail_after(0);
    assert_eq!(pass_on(&mut table, false), Ok(true));
    never_fail();
    assert_eq!(end(&mut table, job, true), None);
    let job = begin(&mut table, "a");
    assert_eq!(end(&mut table, job, true), Some(2));
    assert_eq!(table.counts(), Counts::default());
    fail_after(0);
    assert_eq!(pass_on(&mut table, true), Err(ENOMEM));
    never_fail();
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn an_answer_of_who_is_gone_is_none() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    store(&mut table, client("b"), 2).unwrap();
    let job = begin(&mut table, "a");
    table.doubt();
    assert_eq!(end(&mut table, job, true), None);
    let job = begin(&mut table, "a");
    assert_eq!(job.command, Command::Create);
    assert_eq!(end(&mut table, job, true), Some(1));
    // It may have had a record of this one.
    assert_eq!(drop_record(&mut table, b"b", 2, false), Ok(true));
    assert_eq!(begin(&mut table, "b").command, Command::Remove);
}

#[test]
fn a_record_is_stored_once() {
    let mut table = Table::new(Weak);
    assert!(matches!(next(&mut table, b"a"), Next::Settled));
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    assert_eq!(job.command, Command::Create);
    assert_eq!(table.about(&job).client.unwrap().name, b"a");
    assert!(matches!(next(&mut table, b"a"), Next::Busy));
    assert!(table.begin_next().is_none());
    assert_eq!(end(&mut table, job, true), Some(1));
    assert!(matches!(next(&mut table, b"a"), Next::Settled));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn what_failed_is_wanted_still() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    assert_eq!(end(&mut table, job, false), None);
    assert_eq!(table.counts().stored, 1);
    let job = table.begin_next().unwrap();
    assert_eq!(end(&mut table, job, true), Some(1));
}

#[test]
fn a_client_that_goes_before_its_record_was_sent_leaves_nothing() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    assert_eq!(drop_record(&mut table, b"a", 1, false), Ok(false));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_client_that_goes_while_its_record_is_on_its_way_is_removed_after_it() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    let create = begin(&mut table, "a");
    assert_eq!(drop_record(&mut table, b"a", 1, false), Ok(true));
    assert!(
        matches!(next(&mut table, b"a"), Next::Busy),
        "not beside the Create"
    );
    assert_eq!(
        end(&mut table, create, true),
        None,
        "nobody is to hear of it"
    );
    let remove = begin(&mut table, "a");
    assert_eq!(remove.command, Command::Remove);
    assert_eq!(end(&mut table, remove, true), None);
    assert!(matches!(next(&mut table, b"a"), Next::Settled));
}

#[test]
fn a_client_whose_create_failed_is_removed_as_it_may_be_stored() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    end(&mut table, job, false);
    assert_eq!(drop_record(&mut table, b"a", 1, false), Ok(true));
    assert_eq!(begin(&mut table, "a").command, Command::Remove);
}

#[test]
fn a_client_that_comes_back_keeps_its_record() {
    let mut table = Table::new(Weak);
    assert_eq!(drop_record(&mut table, b"a", 1, true), Ok(true));
    let remove = begin(&mut table, "a");
    store(&mut table, client("a"), 2).unwrap();
    assert_eq!(
        drop_record(&mut table, b"a", 1, true),
        Ok(false),
        "it belongs to 2"
    );
    assert_eq!(end(&mut table, remove, true), None);
    let create = begin(&mut table, "a");
    assert_eq!(create.command, Command::Create);
    assert_eq!(end(&mut table, create, true), Some(2));
}

#[test]
fn the_end_of_grace_waits_for_those_who_were_there() {
    let mut table = Table::new(Weak);
    for name in ["a", "b", "c"] {
        store(&mut table, client(name), 1).unwrap();
    }
    drop_record(&mut table, b"d", 1, true).unwrap();
    table.owe();
    store(&mut table, client("e"), 1).unwrap();
    assert_eq!(table.counts().owed, 3);
    let job = begin(&mut table, "a");
    end(&mut table, job, true);
    assert_eq!(table.counts().owed, 2);
    drop_record(&mut table, b"b", 1, false).unwrap();
    assert_eq!(
        table.counts().owed,
        1,
        "a client that is gone needs no record"
    );
    let job = begin(&mut table, "c");
    drop_record(&mut table, b"c", 1, false).unwrap();
    assert_eq!(table.counts().owed, 0);
    end(&mut table, job, true);
}

fn export(n: u8) -> ExportId {
    ExportId {
        fsid: Fsid::Num(u32::from(n)),
        file_system: [n; 16],
    }
}

/// A client is gone: none of its holds is wanted.
fn drop_holds(table: &mut Table, owner: u32, how: Unhold) {
    for name in ["", "a", "b", "c"] {
        for n in 0..200 {
            table.drop_hold(of_hold(name.as_bytes(), n), owner, how);
        }
    }
}

/// The row of a hold.
fn of_hold(name: &[u8], n: u8) -> Row<'_> {
    Row {
        name,
        export: Some(export(n)),
    }
}

/// A hold is wanted, or no more. It is of client 1, unless it is one of NLM.
fn hold(table: &mut Table, name: &str, n: u8, held: bool) {
    let row = of_hold(name.as_bytes(), n);
    let result = match held {
        true => table.hold(row, owner(name)),
        false => table.unhold(row),
    };
    result.unwrap();
}

fn owner(name: &str) -> Option<u32> {
    (!name.is_empty()).then_some(1)
}

fn next_hold(table: &mut Table, name: &str, n: u8) -> Next {
    let row = of_hold(name.as_bytes(), n);
    table.begin(table.key(row), row)
}

fn begin_hold(table: &mut Table, name: &str, n: u8) -> Job {
    match next_hold(table, name, n) {
        Next::Upcall(job) => job,
        other => panic!("{name}, {n}: {other:?}"),
    }
}

/// An upcall ends. Returns which hold is stored now; what that is of is no client's record.
fn end_hold(table: &mut Table, job: Job, done: bool) -> Option<(Vec<u8>, ExportId)> {
    table.end(job, done).map(|done| match done {
        Done::Held(client, export, owner) => {
            let name = client.get().name;
            assert_eq!(owner.is_none(), name.is_empty());
            (name.to_vec(), export)
        }
        Done::Stored(_) => panic!("a client"),
    })
}

fn counts(stored: usize, removed: usize, owed: usize, holds: usize) -> Counts {
    Counts {
        stored,
        removed,
        owed,
        holds,
    }
}

#[test]
fn a_hold_is_stored_and_removed() {
    let mut table = Table::new(Weak);
    hold(&mut table, "a", 1, true);
    hold(&mut table, "a", 1, true);
    assert_eq!(table.counts(), counts(1, 0, 0, 1));
    let job = begin_hold(&mut table, "a", 1);
    assert_eq!(job.command, Command::Hold);
    let about = table.about(&job);
    assert_eq!(about.client.unwrap(), client("a"));
    assert_eq!(about.export, Some(export(1)));
    assert!(about.epoch.is_none() && about.until.is_none());
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    let held = end_hold(&mut table, job, true);
    assert_eq!(held, Some((b"a".to_vec(), export(1))));
    assert_eq!(table.counts(), Counts::default());
    hold(&mut table, "a", 1, false);
    assert_eq!(table.counts(), counts(0, 1, 0, 0));
    let job = begin_hold(&mut table, "a", 1);
    assert_eq!(job.command, Command::Unhold);
    assert_eq!(end_hold(&mut table, job, true), None);
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Settled));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_hold_of_nlm_has_no_client() {
    let mut table = Table::new(Weak);
    hold(&mut table, "", 1, true);
    let job = table.begin_next().unwrap();
    let about = table.about(&job);
    assert!(about.client.is_none() && about.export == Some(export(1)));
    assert_eq!(end_hold(&mut table, job, true), Some((vec![], export(1))));
}

#[test]
fn holds_and_clients_are_apart() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    hold(&mut table, "a", 1, true);
    hold(&mut table, "a", 2, true);
    hold(&mut table, "b", 1, true);
    assert_eq!(table.counts(), counts(4, 0, 0, 3));
    // Each may be on its way beside the others.
    let job = begin(&mut table, "a");
    let jobs = [("a", 1), ("a", 2), ("b", 1)].map(|(name, n)| begin_hold(&mut table, name, n));
    assert_eq!(end(&mut table, job, true), Some(1));
    let ended = jobs.map(|job| end_hold(&mut table, job, true).unwrap());
    let all = [(b"a", 1), (b"a", 2), (b"b", 1)].map(|(name, n)| (name.to_vec(), export(n)));
    assert_eq!(ended, all);
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_hold_waits_until_an_older_client_of_its_name_is_removed() {
    let mut table = Table::new(Weak);
    assert_eq!(drop_record(&mut table, b"a", 1, true), Ok(true));
    hold(&mut table, "a", 1, true);
    hold(&mut table, "b", 1, true);
    hold(&mut table, "", 1, true);
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    // Others do not wait.
    for name in ["b", ""] {
        let job = begin_hold(&mut table, name, 1);
        assert!(end_hold(&mut table, job, true).is_some());
    }
    // Nor is there a turn for it.
    let job = table.begin_next().unwrap();
    assert_eq!(job.command, Command::Remove);
    assert!(table.begin_next().is_none());
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    assert_eq!(end(&mut table, job, false), None);
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    let job = table.begin_next().unwrap();
    assert_eq!(job.command, Command::Remove);
    assert_eq!(end(&mut table, job, true), None);
    let job = begin_hold(&mut table, "a", 1);
    assert!(end_hold(&mut table, job, true).is_some());
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_hold_does_not_wait_when_the_client_is_to_be_stored_again() {
    let mut table = Table::new(Weak);
    assert_eq!(drop_record(&mut table, b"a", 1, true), Ok(true));
    hold(&mut table, "a", 1, true);
    let remove = begin(&mut table, "a");
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    store(&mut table, client("a"), 2).unwrap();
    // It comes to the daemon after the Remove.
    let job = begin_hold(&mut table, "a", 1);
    assert!(end_hold(&mut table, job, true).is_some());
    assert_eq!(end(&mut table, remove, true), None);
    let create = begin(&mut table, "a");
    assert_eq!(create.command, Command::Create);
    assert_eq!(end(&mut table, create, true), Some(2));
}

#[test]
fn a_hold_that_goes_and_comes_on_its_way_is_sent_again() {
    let mut table = Table::new(Weak);
    for first in [true, false] {
        hold(&mut table, "a", 1, first);
        let job = begin_hold(&mut table, "a", 1);
        hold(&mut table, "a", 1, !first);
        assert_eq!(table.counts().holds, usize::from(!first));
        assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
        hold(&mut table, "a", 1, first);
        assert_eq!(
            table.counts(),
            counts(first.into(), (!first).into(), 0, first.into())
        );
        // What the daemon has said is of what was wanted once.
        assert_eq!(end_hold(&mut table, job, true), None);
        let job = begin_hold(&mut table, "a", 1);
        let command = if first {
            Command::Hold
        } else {
            Command::Unhold
        };
        assert_eq!(job.command, command);
        assert_eq!(end_hold(&mut table, job, true).is_some(), first);
        assert_eq!(table.counts(), Counts::default());
    }
}

#[test]
fn a_hold_that_is_not_wanted_any_more_is_removed_after_it_was_stored() {
    let mut table = Table::new(Weak);
    hold(&mut table, "a", 1, true);
    let job = begin_hold(&mut table, "a", 1);
    hold(&mut table, "a", 1, false);
    assert_eq!(
        end_hold(&mut table, job, true),
        None,
        "nobody is to hear of it"
    );
    let job = table.begin_next().unwrap();
    assert_eq!(job.command, Command::Unhold);
    // And the other way round.
    hold(&mut table, "a", 1, true);
    assert_eq!(end_hold(&mut table, job, true), None);
    let job = table.begin_next().unwrap();
    assert_eq!(job.command, Command::Hold);
    assert!(end_hold(&mut table, job, true).is_some());
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_hold_that_failed_is_wanted_still() {
    let mut table = Table::new(Weak);
    hold(&mut table, "a", 1, true);
    let job = begin_hold(&mut table, "a", 1);
    assert_eq!(end_hold(&mut table, job, false), None);
    assert_eq!(table.counts(), counts(1, 0, 0, 1));
    let job = table.begin_next().unwrap();
    assert!(end_hold(&mut table, job, true).is_some());
}

#[test]
fn the_end_of_grace_waits_for_holds_too() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    hold(&mut table, "a", 1, true);
    hold(&mut table, "a", 2, true);
    hold(&mut table, "b", 1, true);
    hold(&mut table, "b", 2, false);
    table.owe();
    hold(&mut table, "c", 1, true);
    assert_eq!(table.counts(), counts(5, 1, 4, 4));
    let job = begin_hold(&mut table, "a", 1);
    assert!(end_hold(&mut table, job, true).is_some());
    assert_eq!(table.counts(), counts(4, 1, 3, 3));
    // One more.
    for _ in 0..2 {
        let row = of_hold(b"c", 1);
        table.owe_one(table.key(row), row);
    }
    assert_eq!(table.counts(), counts(4, 1, 4, 3));
    let job = begin_hold(&mut table, "c", 1);
    assert!(end_hold(&mut table, job, true).is_some());
    assert_eq!(table.counts(), counts(3, 1, 3, 2));
    // Not of one that is to be removed, or is none.
    for (name, n) in [("b", 2), ("d", 1)] {
        let row = of_hold(name.as_bytes(), n);
        table.owe_one(table.key(row), row);
    }
    assert_eq!(table.counts().owed, 3);
    // One that failed is waited for.
    let job = begin_hold(&mut table, "a", 2);
    assert_eq!(end_hold(&mut table, job, false), None);
    assert_eq!(table.counts().owed, 3);
    // One that is not wanted any more is not, whether it comes back or not.
    hold(&mut table, "b", 1, false);
    assert_eq!(table.counts(), counts(2, 2, 2, 1));
    hold(&mut table, "b", 1, true);
    assert_eq!(table.counts(), counts(3, 1, 2, 2));
    // One that may be stored is removed.
    drop_holds(&mut table, 1, Unhold::Now);
    assert_eq!(table.counts(), counts(1, 3, 1, 0));
    table.drop_all_holds();
    assert_eq!(table.counts(), counts(1, 0, 1, 0));
}

#[test]
fn the_holds_of_one_who_is_gone_are_dropped() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    for n in 1..5 {
        hold(&mut table, "a", n, n < 4);
        hold(&mut table, "", n, n < 4);
    }
    // The next one of that name is there already.
    table.hold(of_hold(b"a", 5), Some(2)).unwrap();
    assert_eq!(table.counts(), counts(8, 2, 0, 7));
    let busy = begin_hold(&mut table, "a", 1);
    let failed = begin_hold(&mut table, "a", 2);
    assert_eq!(end_hold(&mut table, failed, false), None);
    drop_holds(&mut table, 1, Unhold::Now);
    // What is on its way, or may be stored, is to be removed.
    assert_eq!(table.counts(), counts(5, 4, 0, 4));
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    assert_eq!(end_hold(&mut table, busy, true), None);
    for n in [1, 2, 4] {
        let job = begin_hold(&mut table, "a", n);
        assert_eq!(job.command, Command::Unhold, "{n}");
        assert_eq!(end_hold(&mut table, job, true), None);
    }
    assert!(matches!(next_hold(&mut table, "a", 3), Next::Settled));
    let job = begin_hold(&mut table, "a", 5);
    assert_eq!(job.command, Command::Hold);
    assert!(matches!(next(&mut table, b"a"), Next::Upcall(_)));
    drop_holds(&mut table, 3, Unhold::Now);
    assert_eq!(table.counts(), counts(5, 1, 0, 4));
    let held = table.end(job, true).unwrap();
    assert!(matches!(held, Done::Held(_, _, Some(2))));
}

#[test]
fn a_hold_is_of_the_last_one_that_asked() {
    let mut table = Table::new(Weak);
    hold(&mut table, "a", 1, true);
    let job = begin_hold(&mut table, "a", 1);
    table.hold(of_hold(b"a", 1), Some(2)).unwrap();
    drop_holds(&mut table, 1, Unhold::Now);
    assert_eq!(table.counts(), counts(1, 0, 0, 1));
    assert_eq!(
        end_hold(&mut table, job, true),
        None,
        "it is another one's now"
    );
    let job = begin_hold(&mut table, "a", 1);
    let held = table.end(job, true).unwrap();
    assert!(matches!(held, Done::Held(_, _, Some(2))));
}

#[test]
fn who_may_reclaim_again_keeps_what_is_on_record() {
    let mut table = Table::new(Weak);
    for n in 1..4 {
        hold(&mut table, "a", n, true);
    }
    table.hold(of_hold(b"a", 4), Some(2)).unwrap();
    let busy = begin_hold(&mut table, "a", 1);
    let failed = begin_hold(&mut table, "a", 2);
    assert_eq!(end_hold(&mut table, failed, false), None);
    table.owe();
    drop_holds(&mut table, 1, Unhold::Never);
    // Only what is on its way is still known, and wanted by nobody.
    assert_eq!(table.counts(), counts(1, 0, 1, 1));
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    assert_eq!(end_hold(&mut table, busy, true), None);
    for n in 1..4 {
        assert!(matches!(next_hold(&mut table, "a", n), Next::Settled));
    }
    // The next one of that name asks while it is on its way.
    hold(&mut table, "a", 1, true);
    let busy = begin_hold(&mut table, "a", 1);
    drop_holds(&mut table, 1, Unhold::Never);
    table.hold(of_hold(b"a", 1), Some(2)).unwrap();
    assert_eq!(end_hold(&mut table, busy, true), None);
    let job = begin_hold(&mut table, "a", 1);
    assert_eq!(job.command, Command::Hold);
    let held = table.end(job, true).unwrap();
    assert!(matches!(held, Done::Held(_, _, Some(2))));
}

#[test]
fn a_hold_that_a_remove_overtakes_is_sent_again() {
    let mut table = Table::new(Weak);
    table.hold(of_hold(b"a", 1), Some(2)).unwrap();
    let busy = begin_hold(&mut table, "a", 1);
    // The former client of that name goes, which is on record, or not.
    drop_holds(&mut table, 1, Unhold::Now);
    drop_holds(&mut table, 1, Unhold::Never);
    let held = table.end(busy, true).unwrap();
    assert!(matches!(held, Done::Held(_, _, Some(2))));
    table.hold(of_hold(b"a", 1), Some(2)).unwrap();
    let busy = begin_hold(&mut table, "a", 1);
    assert_eq!(drop_record(&mut table, b"a", 1, true), Ok(true));
    drop_holds(&mut table, 1, Unhold::ByRemove);
    assert!(table.end(busy, true).is_none());
    assert!(matches!(next_hold(&mut table, "a", 1), Next::Busy));
    let remove = begin(&mut table, "a");
    end(&mut table, remove, true);
    let job = begin_hold(&mut table, "a", 1);
    let held = table.end(job, true).unwrap();
    assert!(matches!(held, Done::Held(_, _, Some(2))));
}

#[test]
fn a_daemon_that_knows_no_holds_is_asked_for_none() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    drop_record(&mut table, b"b", 2, true).unwrap();
    for name in ["a", "c", ""] {
        hold(&mut table, name, 1, true);
        hold(&mut table, name, 2, false);
    }
    table.drop_all_holds();
    assert_eq!(table.counts(), counts(1, 1, 0, 0));
    // Also if only some that are to be removed are left.
    hold(&mut table, "a", 2, false);
    table.drop_all_holds();
    assert_eq!(table.counts(), counts(1, 1, 0, 0));
    let all = [table.begin_next().unwrap(), table.begin_next().unwrap()];
    let commands = all.map(|job| job.command);
    assert_eq!(commands, [Command::Create, Command::Remove]);
}

#[test]
fn all_places_may_go_while_holds_are_dropped() {
    let ways: [fn(&mut Table); 2] = [
        |table| drop_holds(table, 1, Unhold::Now),
        |table| table.drop_all_holds(),
    ];
    for drop_them in ways {
        let mut table = Table::new(Weak);
        for n in 0..200 {
            hold(&mut table, "a", n, true);
        }
        // The last one that is dropped takes all places with it.
        drop_them(&mut table);
        assert_eq!(table.counts(), Counts::default());
        for n in 0..200 {
            assert!(matches!(next_hold(&mut table, "a", n), Next::Settled));
        }
        assert!(table.begin_next().is_none());
        hold(&mut table, "a", 1, true);
        assert!(matches!(next_hold(&mut table, "a", 1), Next::Upcall(_)));
    }
}

#[test]
fn one_on_its_way_keeps_its_place() {
    for at in [0, 57, 199] {
        let mut table = Table::new(Weak);
        for n in 0..200 {
            hold(&mut table, "a", n, true);
        }
        let job = begin_hold(&mut table, "a", at);
        drop_holds(&mut table, 1, Unhold::Now);
        assert_eq!(table.counts(), counts(0, 1, 0, 0));
        for n in 0..200 {
            let next = next_hold(&mut table, "a", n);
            if n == at {
                assert!(matches!(next, Next::Busy));
            } else {
                assert!(matches!(next, Next::Settled));
            }
        }
        assert_eq!(end_hold(&mut table, job, true), None);
        let job = table.begin_next().unwrap();
        assert_eq!(job.command, Command::Unhold);
        assert_eq!(end_hold(&mut table, job, true), None);
        assert_eq!(table.counts(), Counts::default());
    }
}

#[test]
fn an_answer_about_a_hold_of_who_is_gone_is_none() {
    let mut table = Table::new(Weak);
    hold(&mut table, "a", 1, true);
    let job = begin_hold(&mut table, "a", 1);
    table.doubt();
    assert_eq!(end_hold(&mut table, job, true), None);
    let job = begin_hold(&mut table, "a", 1);
    assert_eq!(
        end_hold(&mut table, job, true),
        Some((b"a".to_vec(), export(1)))
    );
}

#[test]
fn without_memory_no_hold_is_noted() {
    let want = |table: &mut Table, held: bool| match held {
        true => table.hold(of_hold(b"a", 1), Some(1)),
        false => table.unhold(of_hold(b"a", 1)),
    };
    for held in [true, false] {
        let mut table = Table::new(Weak);
        let result = (0..10).find_map(|allocations| {
            kernel::fail_after(allocations);
            let result = want(&mut table, held);
            kernel::never_fail();
            if result.is_err() {
                assert_eq!(result, Err(ENOMEM));
                assert_eq!(table.counts(), Counts::default());
                assert!(matches!(next_hold(&mut table, "a", 1), Next::Settled));
            }
            result.ok()
        });
        assert_eq!(result, Some(()));
        // What is there already needs none.
        kernel::fail_after(0);
        assert_eq!(want(&mut table, !held), Ok(()));
        kernel::never_fail();
    }
}

#[test]
fn no_memory_changes_nothing() {
    let mut table = Table::new(Weak);
    for allocations in 0..10 {
        kernel::fail_after(allocations);
        let result = store(&mut table, client("a"), 1);
        kernel::never_fail();
        if result.is_ok() {
            return;
        }
        assert_eq!(result, Err(ENOMEM));
        assert_eq!(table.counts(), Counts::default());
        assert!(matches!(next(&mut table, b"a"), Next::Settled));
    }
    panic!("store() never succeeds");
}

#[test]
fn what_is_left_is_taken_in_turn() {
    let mut table = Table::new(Weak);
    for n in 0..200 {
        store(&mut table, client(&format!("{n}")), n).unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let job = table.begin_next().unwrap();
        seen.insert(table.about(&job).client.unwrap().name.to_vec());
        end(&mut table, job, false);
    }
    assert_eq!(
        seen.len(),
        200,
        "one that fails does not keep the others from their turn"
    );
    while let Some(job) = table.begin_next() {
        end(&mut table, job, true);
    }
    assert_eq!(table.counts(), Counts::default());
}

/// A step of the random walk; names are small numbers.
#[derive(Clone, Debug)]
enum Step {
    Come(u8),
    Go(u8),
    Begin(u8),
    BeginAny,
    /// An upcall that is on its way ends: which one, whether the daemon did it, and whether we hear.
    End(usize, bool, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..12u8).prop_map(Step::Come),
        (0..12u8).prop_map(Step::Go),
        (0..12u8).prop_map(Step::Begin),
        Just(Step::BeginAny),
        (any::<usize>(), any::<bool>(), any::<bool>()).prop_map(|(n, d, h)| Step::End(n, d, h)),
    ]
}

proptest! {
    /// Whatever fails on the way: in the end the daemon has the records of who is there.
    #[test]
    fn in_the_end_the_records_are_right(steps in proptest::collection::vec(step(), 0..400)) {
        let mut table = Table::new(Weak);
        let mut next_owner = 0;
        // Who is there: its number, and whether it was told that it is on record.
        let mut there: BTreeMap<String, (u32, bool)> = BTreeMap::new();
        let mut daemon = BTreeSet::new();
        let mut on_their_way: Vec<(Job, String)> = Vec::new();
        for step in steps {
            match step {
                Step::Come(n) => {
                    let name = format!("{n}");
                    // One that comes again: nfsd confirms the new one, then removes the old one.
                    let old = there.insert(name.clone(), (next_owner, false));
                    if let Some((owner, stable)) = old {
                        drop_record(&mut table, name.as_bytes(), owner, stable).unwrap();
                    }
                    store(&mut table, client(&name), next_owner).unwrap();
                    next_owner += 1;
                }
                Step::Go(n) => {
                    let name = format!("{n}");
                    if let Some((owner, stable)) = there.remove(&name) {
                        drop_record(&mut table, name.as_bytes(), owner, stable).unwrap();
                    }
                }
                Step::Begin(n) => {
                    let name = format!("{n}");
                    if let Next::Upcall(job) = next(&mut table, name.as_bytes()) {
                        on_their_way.push((job, name));
                    }
                }
                Step::BeginAny => {
                    if let Some(job) = table.begin_next() {
                        let name = String::from_utf8(table.about(&job).client.unwrap().name.to_vec()).unwrap();
                        on_their_way.push((job, name));
                    }
                }
                Step::End(at, done, heard) => {
                    if on_their_way.is_empty() {
                        continue;
                    }
                    let (job, name) = on_their_way.swap_remove(at % on_their_way.len());
                    finish(&mut table, &mut daemon, &mut there, job, &name, done, heard);
                }
            }
            // One upcall a name at a time.
            let names: BTreeSet<_> = on_their_way.iter().map(|(_, name)| name).collect();
            prop_assert_eq!(names.len(), on_their_way.len());
            // Who was told so is on record.
            for (name, (_, stable)) in &there {
                prop_assert!(!stable || daemon.contains(name), "{} is not on record", name);
            }
        }
        for (job, name) in on_their_way {
            finish(&mut table, &mut daemon, &mut there, job, &name, true, true);
        }
        while let Some(job) = table.begin_next() {
            let name = String::from_utf8(table.about(&job).client.unwrap().name.to_vec()).unwrap();
            finish(&mut table, &mut daemon, &mut there, job, &name, true, true);
        }
        prop_assert_eq!(table.counts(), Counts::default());
        prop_assert!(there.values().all(|(_, stable)| *stable));
        prop_assert_eq!(there.into_keys().collect::<BTreeSet<_>>(), daemon);
    }
}

/// An upcall ends: the daemon does what it says, or not, and we hear of it, or not.
fn finish(
    table: &mut Table,
    daemon: &mut BTreeSet<String>,
    there: &mut BTreeMap<String, (u32, bool)>,
    job: Job,
    name: &str,
    done: bool,
    heard: bool,
) {
    if done {
        match job.command {
            Command::Create => drop(daemon.insert(name.to_owned())),
            _ => drop(daemon.remove(name)),
        }
    }
    if let Some(owner) = end(table, job, done && heard) {
        let client = there.get_mut(name).expect("a client that is gone was told");
        assert_eq!(client.0, owner, "another one was told");
        client.1 = true;
    }
}
