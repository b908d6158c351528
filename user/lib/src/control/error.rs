// SPDX-License-Identifier: GPL-2.0
//! Why a control file could not be used.

use std::io;
use std::path::PathBuf;

/// Why a control file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module is not loaded, or nfsd's file system not mounted.
    #[error(
        "there is no {}: load the module (modprobe nfsd_ha, or insmod nfsd_ha.ko), \
         and mount -t nfsd nfsd /proc/fs/nfsd", .file.display()
    )]
    Absent {
        /// The file that is missing.
        file: PathBuf,
    },
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}: are you root? Else try again", .file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says what this program does not understand.
    #[error(
        "{} says {line:?}, which this nfsd-ha does not know: is the module of another version?",
        .file.display()
    )]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line.
        line: String,
    },
    /// The module did not do what it was told.
    #[error("{} was not done: {refusal}", .file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Why.
        refusal: Refusal,
        /// What the file says of it.
        answer: String,
        /// The kernel's own words.
        source: io::Error,
    },
}

/// Why the module does not do what it is told: the errors of docs/control.md.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `EINVAL`
    #[error("the module does not take this command")]
    Invalid,
    /// `EBUSY`: something is in the way, and nothing is changed. Or nfsd or lockd starts or stops.
    #[error("it is busy")]
    Busy,
    /// `ETIME`
    #[error("the scope is not in grace, or not any more: begin again")]
    NotInGrace,
    /// `ENODEV`
    #[error(
        "the livepatch is being switched on or off: look at \
         /sys/kernel/livepatch/nfsd_ha/transition, and try again when it is 0"
    )]
    SwitchedOff,
    /// `ENOSPC`
    #[error("65,536 scopes are in grace, or 64 addresses drain: end some")]
    TooMany,
    /// `ENXIO`
    #[error("it is not known which device the scope is on: write dev:MAJOR:MINOR")]
    NoDevice,
    /// `EPERM`
    #[error("this needs CAP_SYS_ADMIN: be root")]
    NotPermitted,
    /// `EINTR`
    #[error("a signal came: try again")]
    Interrupted,
    /// `ENOMEM`
    #[error("the kernel has no memory: try again")]
    NoMemory,
    /// Another error, by its number.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl Refusal {
    pub(super) fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        let number = error.raw_os_error().unwrap_or_default();
        match Errno::from_raw_os_error(number) {
            Errno::INVAL => Self::Invalid,
            Errno::BUSY => Self::Busy,
            Errno::TIME => Self::NotInGrace,
            Errno::NODEV => Self::SwitchedOff,
            Errno::NOSPC => Self::TooMany,
            Errno::NXIO => Self::NoDevice,
            Errno::PERM => Self::NotPermitted,
            Errno::INTR => Self::Interrupted,
            Errno::NOMEM => Self::NoMemory,
            _ => Self::Other(number),
        }
    }
}

impl Error {
    /// Why the module refused a command.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Who or what is in the way of a release, if the module has said so (`busy FILE: WHY`).
    pub fn in_the_way(&self) -> Option<&str> {
        match self {
            Self::Refused { answer, .. } => {
                answer.lines().find_map(|line| line.strip_prefix("busy "))
            }
            _ => None,
        }
    }
}
