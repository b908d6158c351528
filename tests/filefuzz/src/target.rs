// SPDX-License-Identifier: GPL-2.0
//! A file that is written to, open several times in several ways.

use crate::random::Random;
use crate::sys::{self, Outcome};
use libc::{c_int, O_APPEND, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// How often a thread has it open.
const FILES: usize = 3;

/// Ways to open it, when it is not for once opened so that it cannot be written to.
const FLAGS: &[c_int] = &[
    O_RDWR | O_NONBLOCK,
    O_RDWR | O_NONBLOCK,
    O_RDWR | O_NONBLOCK,
    O_RDWR | O_NONBLOCK | O_TRUNC,
    O_RDWR | O_APPEND,
    O_RDWR,
    O_WRONLY | O_NONBLOCK,
    O_WRONLY,
];
const NOT_TO_WRITE: &[c_int] = &[O_RDONLY, O_PATH];

/// A file.
pub struct Target {
    /// Its number among all.
    pub number: usize,
    /// A client tracking pipe, or else a control file.
    pub is_pipe: bool,
    path: PathBuf,
    files: [Option<OwnedFd>; FILES],
}

impl Target {
    /// A file that is not open yet.
    pub fn new(number: usize, path: PathBuf, is_pipe: bool) -> Self {
        Target {
            number,
            is_pipe,
            path,
            files: [const { None }; FILES],
        }
    }

    /// One of the open files, opened if it is not; then also how that went.
    pub fn file(&mut self, random: &mut Random) -> (Option<&OwnedFd>, Option<Outcome>) {
        let at = random.below(FILES);
        if random.percent(2) {
            self.files[at] = None;
        }
        let mut opened = None;
        if self.files[at].is_none() {
            let ways = if random.percent(3) {
                NOT_TO_WRITE
            } else {
                FLAGS
            };
            let result = sys::open(&self.path, *random.one_of(ways));
            opened = Some(result.as_ref().map(|_| 0).map_err(|e| *e));
            self.files[at] = result.ok();
        }
        (self.files[at].as_ref(), opened)
    }

    /// Closes all.
    pub fn close(&mut self) {
        self.files = [const { None }; FILES];
    }
}
