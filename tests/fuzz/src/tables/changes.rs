// SPDX-License-Identifier: GPL-2.0

//! What the daemon has not confirmed, and the holds that it has, beside nfsd and a daemon that fails now and then.

use super::Step;
use crate::nfs4::record::Client;
use crate::scopes::place::ExportId;
use crate::scopes::scope::Fsid;
use crate::tracking::changes::{Changes, Counts, Done, Job, Next, Unhold};
use crate::tracking::cld::{Command, Details};
use crate::tracking::holds::{Holds, Leave, Row};
use crate::{with_memory, Weak};
use kernel::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A client, or what it holds.
type Name = (u8, Option<u8>);

/// An upcall that was sent.
struct Sent {
    /// Somebody waits for its answer.
    job: Option<Job>,
    command: Command,
    name: Name,
    /// The daemon has done it.
    done: bool,
}

/// A client that is there.
struct There {
    /// nfsd's number for it.
    owner: u32,
    /// It is to be stored.
    wanted: bool,
    /// It was told that it is on record.
    stable: bool,
}

/// All who take part.
struct Walk {
    table: Changes<Weak, u32>,
    holds: Holds<Weak, u32>,
    next_owner: u32,
    there: BTreeMap<u8, There>,
    /// What they hold.
    held: BTreeSet<(u8, u8)>,
    /// What is in `holds`.
    told: BTreeSet<(u8, u8)>,
    daemon: BTreeSet<Name>,
    /// What clients that went may have held: it stays if no Remove comes, as the next one of that name was stored before.
    stale: BTreeSet<Name>,
    /// The daemon does it in this order.
    sent: Vec<Sent>,
}

fn export(n: u8) -> ExportId {
    ExportId {
        fsid: Fsid::Num(n.into()),
        file_system: [n; 16],
    }
}

/// What may become of the holds of a client that is idle, or is not.
fn leave(is_idle: bool) -> Leave {
    match is_idle {
        true => Leave::End,
        false => Leave::Begin,
    }
}

fn number(export: &ExportId) -> u8 {
    export.file_system[0]
}

/// Calls `f` with the row of a name.
fn with_row<R>((who, at): Name, f: impl FnOnce(Row<'_>) -> R) -> R {
    f(Row {
        name: &[who],
        export: at.map(export),
    })
}

impl Walk {
    /// A change is wanted; without memory nothing changes, and it is wanted again.
    fn want<R>(&mut self, memory: u8, f: impl Fn(&mut Changes<Weak, u32>) -> Result<R>) -> R {
        let before = self.table.counts();
        with_memory(memory, || f(&mut self.table)).unwrap_or_else(|e| {
            assert_eq!((e, self.table.counts()), (ENOMEM, before));
            f(&mut self.table).unwrap()
        })
    }

    /// A client goes, `in_grace` if it may be on record from before.
    fn go(&mut self, who: u8, in_grace: bool, memory: u8) {
        let Some(client) = self.there.remove(&who) else {
            return;
        };
        let removes = self.want(memory, |table| {
            with_row((who, None), |row| {
                table.remove(table.key(row), row.name, client.owner, client.stable)
            })
        });
        self.held.retain(|held| held.0 != who);
        // If the next one of its name is stored before it is removed, that is never done.
        self.stale.extend((0..4).map(|at| (who, Some(at))));
        let how = match (removes, in_grace) {
            (true, _) => Unhold::ByRemove,
            (false, true) => Unhold::Never,
            (false, false) => Unhold::Now,
        };
        for at in 0..4 {
            with_row((who, Some(at)), |row| {
                self.table.drop_hold(row, client.owner, how)
            });
        }
        let Walk {
            table, holds, told, ..
        } = self;
        let forgotten = holds.forget(&[who], |export, owner| {
            assert_eq!(owner, Some(client.owner));
            let at = number(export);
            if how == Unhold::Now {
                with_row((who, Some(at)), |row| table.unhold(row))?;
            }
            Ok(told.remove(&(who, at)))
        });
        assert!(forgotten.is_ok());
    }

    /// A client comes; one that was there goes, after the new one is confirmed.
    fn come(&mut self, who: u8, in_grace: bool, memory: u8) {
        self.go(who, in_grace, memory);
        let client = There {
            owner: self.next_owner,
            wanted: false,
            stable: false,
        };
        self.next_owner += 1;
        self.there.insert(who, client);
    }

    /// It is to be on record.
    fn store(&mut self, who: u8, memory: u8) {
        let Some(there) = self.there.get_mut(&who).filter(|there| !there.wanted) else {
            return;
        };
        there.wanted = true;
        let owner = there.owner;
        let client = Client {
            name: &[who],
            hash: &[],
        };
        self.want(memory, |table| {
            let key = with_row((who, None), |row| table.key(row));
            table.store(key, client, Details::default(), owner)
        });
    }

    /// A client is about to have something on an export.
    fn hold(&mut self, who: u8, at: u8, memory: u8) {
        let Some(owner) = self.there.get(&who).map(|client| client.owner) else {
            return;
        };
        self.held.insert((who, at));
        if !self.holds.keep(&[who], &export(at), Some(owner)) {
            self.want(memory, |table| {
                with_row((who, Some(at)), |row| table.hold(row, Some(owner)))
            });
        }
    }

    /// Somebody looks what a client holds.
    fn look(&mut self, who: u8, is_idle: bool, memory: u8) {
        let Walk {
            table,
            holds,
            held,
            told,
            ..
        } = self;
        let finds = |export: &ExportId| held.contains(&(who, number(export)));
        let result = with_memory(memory, || {
            holds.look(&[who], leave(is_idle), finds, |export| {
                let at = number(export);
                with_row((who, Some(at)), |row| table.unhold(row))?;
                assert!(is_idle && told.remove(&(who, at)));
                Ok(())
            })
        });
        assert!(result.is_ok() || result == Err(ENOMEM));
    }

    /// An upcall begins.
    fn begin(&mut self, job: Job) {
        let about = self.table.about(&job);
        let who = about.client.unwrap().name[0];
        let name = (who, about.export.as_ref().map(number));
        let command = job.command;
        let same = |sent: &&Sent| sent.name == name && sent.job.is_some();
        assert!(
            self.sent.iter().find(same).is_none(),
            "two upcalls for {name:?}"
        );
        let is_hold = matches!(command, Command::Hold | Command::Unhold);
        assert_eq!(is_hold, name.1.is_some());
        self.sent.push(Sent {
            job: Some(job),
            command,
            name,
            done: false,
        });
    }

    /// The daemon does the next one.
    fn serve(&mut self) -> bool {
        let Some(sent) = self.sent.iter_mut().find(|sent| !sent.done) else {
            return false;
        };
        sent.done = true;
        match sent.command {
            Command::Create | Command::Hold => drop(self.daemon.insert(sent.name)),
            Command::Unhold => drop(self.daemon.remove(&sent.name)),
            _ => {
                let who = sent.name.0;
                self.daemon.retain(|name| name.0 != who);
                self.stale.retain(|name| name.0 != who);
            }
        }
        self.sent.retain(|sent| !sent.done || sent.job.is_some());
        true
    }

    /// An upcall ends: with its answer, or without. Then it may be done later, unless it is taken back.
    fn end(&mut self, at: usize, heard: bool, is_taken_back: bool) {
        let sent = &mut self.sent[at];
        let Some(job) = sent.job.take() else {
            return;
        };
        let (name, done) = (sent.name, sent.done);
        if done || is_taken_back {
            self.sent.remove(at);
        }
        match self.table.end(job, done && heard) {
            Some(Done::Stored(owner)) => {
                let client = self
                    .there
                    .get_mut(&name.0)
                    .expect("one that is gone was told");
                assert_eq!(client.owner, owner, "another one was told");
                client.stable = true;
            }
            Some(Done::Held(client, export, owner)) => {
                assert_eq!((client.get().name[0], Some(number(&export))), name);
                assert_eq!(owner, self.there.get(&name.0).map(|client| client.owner));
                self.holds.add(client.get().name, &export, owner).unwrap();
                self.told.insert((name.0, number(&export)));
            }
            None => {}
        }
    }

    fn step(&mut self, step: Step) {
        let (who, at) = (step.who & 15, step.who >> 4 & 3);
        match step.what % 16 {
            0 => self.come(who, step.number & 1 == 0, step.memory),
            1 => self.store(who, step.memory),
            2 => self.go(who, step.number & 1 == 0, step.memory),
            3 => {
                let name = (who, Some(at).filter(|_| step.number & 1 == 0));
                let next = with_row(name, |row| self.table.begin(self.table.key(row), row));
                if let Next::Upcall(job) = next {
                    self.begin(job);
                }
            }
            4 | 5 => {
                if let Some(job) = self.table.begin_next() {
                    self.begin(job);
                }
            }
            6 if step.number & 1 == 0 => self.table.owe(),
            6 => with_row((who, Some(at)), |row| {
                self.table.owe_one(self.table.key(row), row);
            }),
            7 | 8 => self.hold(who, at, step.memory),
            9 => drop(self.held.remove(&(who, at))),
            10 => self.look(who, step.number & 1 == 0, step.memory),
            11..=13 => drop(self.serve()),
            _ if self.sent.is_empty() => (),
            _ => {
                let at = usize::from(step.who) % self.sent.len();
                self.end(at, step.number & 1 == 0, step.number & 2 == 0);
            }
        }
        for (who, client) in &self.there {
            let is_there = self.daemon.contains(&(*who, None));
            assert!(!client.stable || is_there, "{who} is not on record");
        }
        let is_there = |(who, at): &(u8, u8)| self.daemon.contains(&(*who, Some(*at)));
        assert!(self.told.iter().all(is_there), "a hold that is none");
        assert_eq!(self.holds.count(), self.told.len());
        let counts = self.table.counts();
        assert!(counts.owed <= counts.stored && counts.holds <= counts.stored);
    }

    /// All that is wanted is done.
    fn settle(&mut self) {
        while self.serve() {}
        while !self.sent.is_empty() {
            self.end(0, true, true);
        }
        while let Some(job) = self.table.begin_next() {
            self.begin(job);
            self.serve();
            self.end(0, true, true);
        }
        assert_eq!(self.table.counts(), Counts::default());
    }
}

/// Clients come and go, and hold this and that, while the daemon does what it can: in the end it has those who are
/// there, and what they hold.
pub fn walk(steps: impl Iterator<Item = Step>) {
    let mut walk = Walk {
        table: Changes::new(Weak),
        holds: Holds::new(Weak),
        next_owner: 0,
        there: BTreeMap::new(),
        held: BTreeSet::new(),
        told: BTreeSet::new(),
        daemon: BTreeSet::new(),
        stale: BTreeSet::new(),
        sent: Vec::new(),
    };
    steps.for_each(|step| walk.step(step));
    walk.settle();
    for _ in 0..2 {
        (0..16).for_each(|who| walk.look(who, true, u8::MAX));
    }
    walk.settle();
    assert!(walk
        .there
        .values()
        .all(|client| client.stable == client.wanted));
    assert_eq!(walk.told, walk.held);
    let wanted = walk.there.iter().filter(|(_, client)| client.wanted);
    let clients = wanted.map(|(who, _)| (*who, None));
    let holds = walk.held.iter().map(|(who, at)| (*who, Some(*at)));
    let all: BTreeSet<_> = clients.chain(holds).collect();
    assert!(all.is_subset(&walk.daemon));
    assert!(walk
        .daemon
        .difference(&all)
        .all(|name| walk.stale.contains(name)));
}
