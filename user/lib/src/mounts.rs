// SPDX-License-Identifier: GPL-2.0
//! What is mounted where, and how a file system comes and goes.
//!
//! The kernel's list is `/proc/self/mountinfo` (proc_pid_mountinfo(5)). A mount that is in another mount
//! namespace only is not in it, but keeps the file system in use all the same: [`Mount::unmount`] finds
//! that out for a block device.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The mounts of this process's namespace.
const MOUNTINFO: &str = "/proc/self/mountinfo";
/// nfsd lets go of an export in a work queue, after an RCU grace period (`svc_export_put()` in
/// `fs/nfsd/export.c`): for so long, umount may be busy after the last export has gone.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Something about mounts did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list of mounts cannot be read.
    #[error("cannot read {MOUNTINFO}: {0}; is /proc mounted?")]
    Unread(#[source] io::Error),
    /// A line of it cannot be understood.
    #[error("{MOUNTINFO} has a line that is none: {0:?}")]
    NoLine(String),
    /// There is no such path, or it cannot be reached.
    #[error("{}: {source}", .path.display())]
    NoPath {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was unmounted meanwhile.
    #[error("nothing is mounted on {}: write the path that it is mounted on", .0.display())]
    NotMounted(PathBuf),
    /// An administrator's program cannot be run.
    #[error("cannot run {command}: {source}; is it installed?")]
    NoCommand {
        /// The program.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It has failed.
    #[error("{command} failed: {said}")]
    Failed {
        /// The program.
        command: String,
        /// What it says of it.
        said: String,
    },
    /// Somebody uses the file system.
    #[error("{} is in use: end what uses it (fuser -vm {} says what), then try again", .0.display(), .0.display())]
    Busy(PathBuf),
    /// It is not unmounted for another reason.
    #[error("cannot unmount {}: {source}", .path.display())]
    NotUnmounted {
        /// Where it is mounted.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is unmounted, but in use somewhere else.
    #[error(
        "{} is not mounted here any more, but its device {} is still in use: another mount namespace has \
         it (look for it in /proc/*/mountinfo), or a program has it open. Do not mount it on another node \
         before that ends", .path.display(), .device.display()
    )]
    Elsewhere {
        /// Where it was mounted.
        path: PathBuf,
        /// The device.
        device: PathBuf,
    },
}

/// A line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The number of this mount.
    pub id: u64,
    /// The number of the mount that it is on.
    pub parent: u64,
    /// Of the file system: the major number of its device, and the minor one.
    pub device: (u32, u32),
    /// What of the file system is mounted: `/`, or a directory (a bind mount, a subvolume).
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Options of the mount.
    pub options: String,
    /// The kind of file system.
    pub kind: String,
    /// What was mounted: a device, usually.
    pub source: OsString,
    /// Options of the file system.
    pub super_options: String,
}

/// Is this kind of file system that of the NFS client, of any version (`fs/nfs/fs_context.c`)?
pub fn is_nfs(kind: &str) -> bool {
    matches!(kind, "nfs" | "nfs4")
}

/// Replaces `\ooo`, a byte in octal digits, as `mangle_path()` of `fs/seq_file.c` and etab write it.
/// Anything else stays as it is.
pub(crate) fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// Writes bytes as one word of visible ASCII, which [`unescape`] reads.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let one = |byte: &u8| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("\\{byte:03o}"),
    };
    bytes.iter().map(one).collect()
}

impl Mount {
    /// Is it one of the NFS client's, of any version?
    pub fn is_nfs(&self) -> bool {
        is_nfs(&self.kind)
    }

    /// What an option of the file system says, if that is among them with a value.
    pub fn super_option(&self, name: &str) -> Option<&str> {
        let mut options = self.super_options.split(',');
        options.find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// Reads a line (`show_mountinfo()` in `fs/proc_namespace.c`); `None` if it is none.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ');
        let mut word = || words.next();
        fn text(word: &[u8]) -> Option<String> {
            String::from_utf8(unescape(word)).ok()
        }
        fn number<N: std::str::FromStr>(word: &[u8]) -> Option<N> {
            std::str::from_utf8(word).ok()?.parse().ok()
        }
        let path = |word| PathBuf::from(OsString::from_vec(unescape(word)));
        let (id, parent) = (number(word()?)?, number(word()?)?);
        let device = word()?;
        let colon = device.iter().position(|byte| *byte == b':')?;
        let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
        let (root, point, options) = (path(word()?), path(word()?), text(word()?)?);
        // Optional fields, as `shared:1`, until a dash.
        while word()? != b"-" {}
        Some(Self {
            id,
            parent,
            device,
            root,
            point,
            options,
            kind: text(word()?)?,
            source: OsString::from_vec(unescape(word()?)),
            super_options: text(word().unwrap_or_default())?,
        })
    }

    /// The options with which it can be mounted again: the mount's, then the file system's own.
    pub fn all_options(&self) -> String {
        let mut all: Vec<&str> = self.options.split(',').collect();
        for option in self
            .super_options
            .split(',')
            .filter(|option| !option.is_empty())
        {
            // A mount may be read-only on a file system that is not.
            let known = all.contains(&option) || option == "rw" && all.contains(&"ro");
            if !known {
                all.push(option);
            }
        }
        all.join(",")
    }

    /// Unmounts it, with a few tries, as nfsd takes a moment to let go of exports.
    ///
    /// Fails with [`Error::Busy`] if something uses it, and with [`Error::Elsewhere`] if it is done, but the
    /// file system is in use.
    pub fn unmount(&self) -> Result<(), Error> {
        let end = Instant::now() + SETTLE;
        loop {
            match rustix::mount::unmount(&self.point, UnmountFlags::NOFOLLOW) {
                Ok(()) => return self.unused(),
                Err(Errno::BUSY) if Instant::now() < end => std::thread::sleep(PAUSE),
                Err(Errno::BUSY) => return Err(Error::Busy(self.point.clone())),
                Err(e) => {
                    let path = self.point.clone();
                    return Err(Error::NotUnmounted {
                        path,
                        source: e.into(),
                    });
                }
            }
        }
    }

    /// Is nothing mounted from the device any more? Who opens a block device with O_EXCL is refused
    /// while a file system is mounted from it, in whatever namespace (`bd_prepare_to_claim()` in
    /// `block/bdev.c`).
    fn unused(&self) -> Result<(), Error> {
        let device = PathBuf::from(&self.source);
        if !device.is_absolute() {
            return Ok(());
        }
        match rustix::fs::open(
            &device,
            OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Err(Errno::BUSY) => Err(Error::Elsewhere {
                path: self.point.clone(),
                device,
            }),
            // A device of another kind, or one that has gone, says nothing.
            _ => Ok(()),
        }
    }
}

/// All mounts of this process's namespace, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads them.
    pub fn read() -> Result<Self, Error> {
        Self::parse(&std::fs::read(MOUNTINFO).map_err(Error::Unread)?)
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let parse = |line| {
            Mount::parse(line)
                .ok_or_else(|| Error::NoLine(String::from_utf8_lossy(line).into_owned()))
        };
        lines.map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// What is mounted on a path; of several, the one that is seen there. The path has no links.
    pub fn on(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == path)
    }

    /// The mount that a path is on, which need not exist. The path has no links.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|above| self.on(above))
    }

    /// Is a path on the file system of a device? As for [`Self::of`], it need not exist, and has no links.
    pub fn is_on(&self, path: &Path, device: (u32, u32)) -> bool {
        self.of(path).is_some_and(|mount| mount.device == device)
    }

    /// What is mounted on a directory below a mount.
    pub fn below<'a>(&'a self, mount: &'a Mount) -> impl Iterator<Item = &'a Mount> {
        self.0
            .iter()
            .filter(|other| other.point != mount.point && other.point.starts_with(&mount.point))
    }

    /// Where else the file system of a mount is mounted.
    pub fn also<'a>(&'a self, mount: &'a Mount) -> impl Iterator<Item = &'a Mount> {
        self.0
            .iter()
            .filter(|other| other.device == mount.device && other.id != mount.id)
    }

    /// Where the file system on a device is mounted: its root, if it is.
    pub fn from(&self, device: (u32, u32)) -> Option<&Mount> {
        let all = || self.0.iter().filter(|mount| mount.device == device);
        all()
            .find(|mount| mount.root == Path::new("/"))
            .or_else(|| all().next())
    }
}

/// A path without links and dots, as mountinfo has it.
pub fn canonical(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|source| Error::NoPath {
        path: path.to_owned(),
        source,
    })
}

/// What to mount, if `/etc/fstab` does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// A device, or what mount(8) takes in its place.
    pub device: OsString,
    /// The kind of file system; mount(8) finds out otherwise.
    pub kind: Option<String>,
    /// Options, as for `mount -o`.
    pub options: Option<String>,
}

/// Does /etc/fstab say what is to be mounted on a path (fstab(5))?
pub fn is_in_fstab(path: &Path) -> bool {
    let text = std::fs::read("/etc/fstab").unwrap_or_default();
    has_line_for(&text, path)
}

fn has_line_for(fstab: &[u8], path: &Path) -> bool {
    let points = fstab.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let first = words.next()?;
        (first[0] != b'#').then(|| words.next()).flatten()
    });
    let is_this = |point: &[u8]| path == Path::new(OsStr::from_bytes(&unescape(point)));
    points.into_iter().any(is_this)
}

/// Mounts on a path what is said, or else what `/etc/fstab` has for it, with mount(8).
pub fn mount(path: &Path, source: Option<&Source>) -> Result<(), Error> {
    let mut command = Command::new("mount");
    if let Some(Source {
        device,
        kind,
        options,
    }) = source
    {
        command.args(kind.iter().flat_map(|kind| ["-t", kind]));
        command.args(options.iter().flat_map(|options| ["-o", options]));
        command.arg("--").arg(device);
    } else {
        command.arg("--");
    }
    run(command.arg(path)).map(drop)
}

/// Runs an administrator's program, and returns what it prints. It is looked for in the usual directories
/// only, and its messages are not translated.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, Error> {
    let shown = || format!("{command:?}", command = command.get_program()).replace('"', "");
    let named = shown();
    command
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(std::process::Stdio::null());
    let done = command.output().map_err(|source| Error::NoCommand {
        command: named.clone(),
        source,
    })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr)
        .trim()
        .replace('\n', "; ");
    let said = if said.is_empty() {
        done.status.to_string()
    } else {
        said
    };
    Err(Error::Failed {
        command: named,
        said,
    })
}

/// A word as a message shows it.
pub fn shown(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes())
        .escape_debug()
        .to_string()
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
