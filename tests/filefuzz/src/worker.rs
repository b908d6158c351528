// SPDX-License-Identifier: GPL-2.0
//! A thread that writes, and does what else can be done with the files.

use crate::memory::Memory;
use crate::messages::{self, Upcall};
use crate::options::Options;
use crate::random::Random;
use crate::stats::Stats;
use crate::sys::{self, Outcome};
use crate::target::Target;
use crate::{commands, Shared};
use anyhow::Result;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

/// Positions in a file, good and bad.
const OFFSETS: &[i64] = &[0, 0, 1, 5, 4096, i64::MAX, -1, i64::MIN];

/// A thread.
pub struct Worker<'a> {
    options: &'a Options,
    shared: &'a Shared,
    stats: Stats,
    random: Random,
    memory: Memory,
}

impl<'a> Worker<'a> {
    /// A thread that has not begun.
    pub fn new(options: &'a Options, shared: &'a Shared, random: Random) -> Result<Self> {
        Ok(Worker {
            options,
            shared,
            stats: Stats::new(options),
            random,
            memory: Memory::new()?,
        })
    }

    /// Takes turns until there are enough writes; returns what was counted.
    pub fn run(mut self) -> Stats {
        let pipes = self.options.pipe.iter().map(|path| (path, true));
        let files = self.options.file.iter().map(|path| (path, false));
        let all = pipes.chain(files).enumerate();
        let mut targets: Vec<_> = all
            .map(|(n, (path, is_pipe))| Target::new(n, path.clone(), is_pipe))
            .collect();
        while self.shared.writes.load(Ordering::Relaxed) < self.options.writes {
            let at = self.random.below(targets.len());
            self.turn(&mut targets[at]);
        }
        self.stats
    }

    /// Does something with a file.
    fn turn(&mut self, target: &mut Target) {
        let (number, is_pipe) = (target.number, target.is_pipe);
        let (file, opened) = target.file(&mut self.random);
        if let Some(outcome) = opened {
            self.stats.call("open", outcome);
        }
        let Some(file) = file else {
            // A pipe whose server has stopped.
            sleep(Duration::from_millis(1));
            return;
        };
        match self.random.below(1000) {
            0..=199 if is_pipe => {
                if self.converse(number, file) {
                    target.close();
                }
            }
            0..=59 => self.other_call(file),
            _ => {
                let data = if is_pipe {
                    messages::invented(&mut self.random)
                } else {
                    let sequence = self.shared.sequence.load(Ordering::Relaxed);
                    commands::any(&mut self.random, &self.options.scope, sequence)
                };
                self.write(number, file, &data);
            }
        }
    }

    /// Writes data in some way.
    fn write(&mut self, number: usize, file: &OwnedFd, data: &[u8]) {
        let (memory, random) = (&mut self.memory, &mut self.random);
        let (what, outcome) = match random.below(100) {
            0..=2 => ("write, bad pointer", sys::write(file, memory.bad(random))),
            3..=5 => ("write, cut off", sys::write(file, memory.cut(data, random))),
            6 | 7 => ("write, huge", sys::write(file, memory.huge(random))),
            8 => {
                let (at, _) = memory.bad(random);
                ("write of nothing", sys::write(file, (at, 0)))
            }
            9..=12 => {
                let offset = *random.one_of(OFFSETS);
                ("pwrite", sys::pwrite(file, memory.hold(data), offset))
            }
            13..=19 => {
                let (mut at, mut left) = memory.hold(data);
                let mut parts = Vec::new();
                while left > 0 && parts.len() < 4 {
                    let len = 1 + random.below(left);
                    parts.push((at, len));
                    (at, left) = (at + len, left - len);
                }
                if random.percent(20) {
                    let place = random.below(parts.len() + 1);
                    parts.insert(place, memory.bad(random));
                }
                ("writev", sys::writev(file, &parts))
            }
            _ => ("write", sys::write(file, memory.hold(data))),
        };
        self.wrote(number, what, outcome);
    }

    fn wrote(&mut self, number: usize, what: &'static str, outcome: Outcome) {
        self.stats.write(number, what, outcome);
        self.shared.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Is the daemon for a moment: reads an upcall, and answers it wrongly some times, then rightly.
    /// Or goes away, which the caller does: returns whether.
    fn converse(&mut self, number: usize, file: &OwnedFd) -> bool {
        let len = *self.random.one_of(&[8, 9, 500, 1033, 1034, 1067, 2000]);
        let outcome = sys::read(file, self.memory.room(len));
        self.stats.call("read", outcome);
        let Some(mut upcall) = outcome
            .ok()
            .and_then(|n| Upcall::new(self.memory.content(n)))
        else {
            return false;
        };
        self.stats.upcalls += 1;
        // Somebody waits until the time limit is over.
        if self.random.percent(3) {
            return true;
        }
        while upcall.missing() > 0 {
            let outcome = sys::read(file, self.memory.room(upcall.missing()));
            self.stats.call("read", outcome);
            match outcome {
                Ok(n @ 1..) => upcall.extend(&self.memory.content(n)),
                Err(libc::EINTR) => (),
                _ => return true,
            }
        }
        let most = if upcall.wants_records() { 500 } else { 20 };
        for _ in 0..self.random.below(most) {
            let answer = upcall.nearly(&mut self.random);
            self.write(number, file, &answer);
        }
        let right = upcall.right(&mut self.random);
        let outcome = sys::write(file, self.memory.hold(&right));
        self.stats.answered += u64::from(outcome.is_ok());
        self.wrote(number, "right answer", outcome);
        false
    }

    /// Does something that is no write.
    fn other_call(&mut self, file: &OwnedFd) {
        let (memory, random) = (&self.memory, &mut self.random);
        let offset = *random.one_of(OFFSETS);
        let (what, outcome) = match random.below(10) {
            // Not at a pipe's: what is read there must be answered, and pread() fails.
            0 | 1 => (
                "pread",
                sys::pread(file, memory.room(random_len(random)), offset),
            ),
            2 => (
                "pread, bad pointer",
                sys::pread(file, memory.bad(random), offset),
            ),
            3 | 4 => ("lseek", sys::lseek(file, offset, random.below(6) as i32)),
            5 | 6 => ("poll", sys::poll(file)),
            7 => (
                "ioctl FIONREAD",
                sys::ioctl(file, libc::FIONREAD, memory.room(8)),
            ),
            8 => {
                // None that the VFS itself has for every file, such as FIOCLEX.
                let number = 0xb700 | random.below(256) as u64;
                ("ioctl", sys::ioctl(file, number, memory.bad(random)))
            }
            _ if random.percent(50) => ("ftruncate", sys::truncate(file, offset)),
            _ => ("fsync", sys::sync(file)),
        };
        self.stats.call(what, outcome);
    }
}

fn random_len(random: &mut Random) -> usize {
    *random.one_of(&[0, 1, 7, 64, 4096, 1 << 20])
}
