// SPDX-License-Identifier: GPL-2.0

//! What the daemon has not confirmed, beside nfsd and a daemon that fails now and then.

use super::Step;
use crate::nfs4::record::Client;
use crate::tracking::changes::{Changes, Counts, Job, Next};
use crate::tracking::cld::{Command, Details};
use crate::{with_memory, Weak};
use kernel::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// All who take part.
struct Walk {
    table: Changes<Weak, u32>,
    next_owner: u32,
    /// Who is there: nfsd's number for it, and whether it was told that it is on record.
    there: BTreeMap<u8, (u32, bool)>,
    daemon: BTreeSet<u8>,
    on_their_way: Vec<(Job, u8)>,
}

impl Walk {
    /// A change is wanted; without memory nothing changes, and it is wanted again.
    fn want<R>(&mut self, memory: u8, f: impl Fn(&mut Changes<Weak, u32>) -> Result<R>) {
        let before = self.table.counts();
        if let Err(e) = with_memory(memory, || f(&mut self.table)) {
            assert_eq!((e, self.table.counts()), (ENOMEM, before));
            assert!(f(&mut self.table).is_ok());
        }
    }

    /// A client goes.
    fn go(&mut self, who: u8, memory: u8) {
        if let Some((owner, stable)) = self.there.remove(&who) {
            let key = self.table.key(&[who]);
            self.want(memory, |table| table.remove(key, &[who], owner, stable));
        }
    }

    /// A client comes; one that was there goes, after the new one is confirmed.
    fn come(&mut self, who: u8, memory: u8) {
        self.go(who, memory);
        let (key, owner) = (self.table.key(&[who]), self.next_owner);
        self.next_owner += 1;
        let client = Client {
            name: &[who],
            hash: &[],
        };
        self.there.insert(who, (owner, false));
        self.want(memory, |table| {
            table.store(key, client, Details::default(), owner)
        });
    }

    /// An upcall begins.
    fn begin(&mut self, job: Job) {
        let who = self.table.about(&job).client.unwrap().name[0];
        assert!(
            self.on_their_way.iter().all(|(_, other)| *other != who),
            "two upcalls for {who}"
        );
        self.on_their_way.push((job, who));
    }

    /// The upcall ends: the daemon did it, or not, and we hear of it, or not.
    fn end(&mut self, at: usize, done: bool, heard: bool) {
        let (job, who) = self.on_their_way.swap_remove(at);
        if done && job.command == Command::Create {
            self.daemon.insert(who);
        } else if done {
            self.daemon.remove(&who);
        }
        if let Some(owner) = self.table.end(job, done && heard) {
            let client = self.there.get_mut(&who).expect("one that is gone was told");
            assert_eq!(client.0, owner, "another one was told");
            client.1 = true;
        }
    }

    fn step(&mut self, step: Step) {
        let who = step.who;
        match step.what % 8 {
            0 | 1 => self.come(who, step.memory),
            2 => self.go(who, step.memory),
            3 => {
                let key = self.table.key(&[who]);
                if let Next::Upcall(job) = self.table.begin(key, &[who]) {
                    self.begin(job);
                }
            }
            4 | 5 => {
                if let Some(job) = self.table.begin_next() {
                    self.begin(job);
                }
            }
            6 if step.number == 0 => self.table.owe(),
            _ if self.on_their_way.is_empty() => (),
            _ => {
                let at = usize::from(who) % self.on_their_way.len();
                self.end(at, step.number & 1 == 0, step.number & 2 == 0);
            }
        }
        for (who, (_, stable)) in &self.there {
            assert!(
                !stable || self.daemon.contains(who),
                "{who} is not on record"
            );
        }
        let counts = self.table.counts();
        assert!(counts.owed <= counts.stored);
    }
}

/// Clients come and go while the daemon does what it can: in the end it has those who are there.
pub fn walk(steps: impl Iterator<Item = Step>) {
    let mut walk = Walk {
        table: Changes::new(Weak),
        next_owner: 0,
        there: BTreeMap::new(),
        daemon: BTreeSet::new(),
        on_their_way: Vec::new(),
    };
    steps.for_each(|step| walk.step(step));
    while !walk.on_their_way.is_empty() {
        walk.end(0, true, true);
    }
    while let Some(job) = walk.table.begin_next() {
        walk.begin(job);
        walk.end(0, true, true);
    }
    assert_eq!(walk.table.counts(), Counts::default());
    assert!(walk.there.values().all(|(_, stable)| *stable));
    assert!(walk.there.into_keys().eq(walk.daemon));
}
