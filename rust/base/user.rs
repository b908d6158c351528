// SPDX-License-Identifier: GPL-2.0

//! A user of a file, or of a file system, that keeps this from being unmounted.

use crate::base::private::pid_t;
use crate::base::text::Text;
use crate::base::vfs::{Inode, PathRef};
use core::ffi::CStr;
use core::fmt::{self, Write};
use kernel::ffi::c_int;
use kernel::prelude::*;

/// Is an inode one whose users are looked for? It is asked with spinlocks held.
pub(crate) type Wanted<'a> = &'a dyn Fn(&Inode) -> bool;

/// How a process uses something.
#[derive(Clone, Copy)]
pub(crate) enum How {
    HasOpen,
    Maps,
    Runs,
    StandsIn,
    IsIn,
}

/// A user, and what it uses.
pub(crate) enum User {
    /// A process: its name, and its number in the pid namespace of who asks, or 0 if it is not there.
    Process(PathRef, How, [u8; 16], pid_t),
    Loop(PathRef, c_int),
    Swap(PathRef),
    /// Something is mounted there.
    Mount(PathRef),
}

impl User {
    /// What it uses.
    fn path(&self) -> &PathRef {
        match self {
            User::Process(path, ..)
            | User::Loop(path, _)
            | User::Swap(path)
            | User::Mount(path) => path,
        }
    }

    /// What it uses and who it is, in words. May sleep.
    pub(crate) fn describe(&self) -> Result<Text> {
        because(self.path(), self)
    }
}

/// A path, and a reason. May sleep.
pub(crate) fn because(path: &PathRef, reason: impl fmt::Display) -> Result<Text> {
    let mut text = Text::default();
    if path.write(&mut text).is_err() {
        // Too long, or no memory.
        text.write_str("?")?;
    }
    write!(text, ": {reason}")?;
    Ok(text)
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, name, pid) = match self {
            User::Process(_, how, name, pid) => (how, name, *pid),
            User::Loop(_, number) => return write!(f, "loop device loop{number} is on it"),
            User::Swap(_) => return f.write_str("is a swap file"),
            User::Mount(_) => return f.write_str("something is mounted there"),
        };
        f.write_str(match how {
            How::HasOpen => "open in ",
            How::Maps => "mapped by ",
            How::Runs => "run by ",
            How::StandsIn => "working directory of ",
            How::IsIn => "root directory of ",
        })?;
        if pid == 0 {
            return f.write_str("a process of another pid namespace");
        }
        let name = CStr::from_bytes_until_nul(name).unwrap_or_default();
        for byte in name.to_bytes().escape_ascii() {
            f.write_char(char::from(byte))?;
        }
        write!(f, "[{pid}]")
    }
}
