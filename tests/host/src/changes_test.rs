// SPDX-License-Identifier: GPL-2.0

//! The table of changes, against a model of nfsd, the keeper and a daemon.

use crate::base::index::KeyedHash;
use crate::nfs4::record::Client;
use crate::tracking::changes::*;
use crate::tracking::cld::{Command, Details};
use kernel::prelude::*;
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

fn store(table: &mut Table, client: Client<'_>, owner: u32) -> Result {
    table.store(table.key(client.name), client, Details::default(), owner)
}

fn drop_record(table: &mut Table, name: &[u8], owner: u32, on_record: bool) -> Result<bool> {
    table.remove(table.key(name), name, owner, on_record)
}

fn next(table: &mut Table, name: &[u8]) -> Next {
    table.begin(table.key(name), name)
}

fn begin(table: &mut Table, name: &str) -> Job {
    match next(table, name.as_bytes()) {
        Next::Upcall(job) => job,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn an_answer_of_who_is_gone_is_none() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    store(&mut table, client("b"), 2).unwrap();
    let job = begin(&mut table, "a");
    table.doubt();
    assert_eq!(table.end(job, true), None);
    let job = begin(&mut table, "a");
    assert_eq!(job.command, Command::Create);
    assert_eq!(table.end(job, true), Some(1));
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
    assert_eq!(table.end(job, true), Some(1));
    assert!(matches!(next(&mut table, b"a"), Next::Settled));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn what_failed_is_wanted_still() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    assert_eq!(table.end(job, false), None);
    assert_eq!(table.counts().stored, 1);
    let job = table.begin_next().unwrap();
    assert_eq!(table.end(job, true), Some(1));
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
    assert_eq!(table.end(create, true), None, "nobody is to hear of it");
    let remove = begin(&mut table, "a");
    assert_eq!(remove.command, Command::Remove);
    assert_eq!(table.end(remove, true), None);
    assert!(matches!(next(&mut table, b"a"), Next::Settled));
}

#[test]
fn a_client_whose_create_failed_is_removed_as_it_may_be_stored() {
    let mut table = Table::new(Weak);
    store(&mut table, client("a"), 1).unwrap();
    let job = begin(&mut table, "a");
    table.end(job, false);
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
    assert_eq!(table.end(remove, true), None);
    let create = begin(&mut table, "a");
    assert_eq!(create.command, Command::Create);
    assert_eq!(table.end(create, true), Some(2));
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
    table.end(job, true);
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
    table.end(job, true);
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
        table.end(job, false);
    }
    assert_eq!(
        seen.len(),
        200,
        "one that fails does not keep the others from their turn"
    );
    while let Some(job) = table.begin_next() {
        table.end(job, true);
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
    if let Some(owner) = table.end(job, done && heard) {
        let client = there.get_mut(name).expect("a client that is gone was told");
        assert_eq!(client.0, owner, "another one was told");
        client.1 = true;
    }
}
