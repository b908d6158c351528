// SPDX-License-Identifier: GPL-2.0
//! What is exported: rpc.mountd's table, and how exports come and go.
//!
//! `etab` has a line for each path and client, `PATH CLIENT(OPTIONS)` (exportfs(8)); rpc.mountd tells the
//! kernel of one when somebody asks. Only exportfs changes it, as it takes rpc.mountd's lock. What the
//! kernel knows then is in [`caches`].

pub mod caches;

use crate::mounts::{self, escape, unescape, Mounts};
use crate::scope::Fsid;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::net::Ipv6Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// Where nfs-utils keeps its table (`NFS_STATEDIR` of support/export/export.c).
pub const ETAB: &str = "/var/lib/nfs/etab";
/// The greatest table that is read, in bytes: some 100,000 exports. On some systems its directory is
/// rpc.statd's, who could put anything there.
const ETAB_MAX: u64 = 16 << 20;

/// Something about exports did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}; are you root?", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what rpc.mountd and exportfs have.
    #[error("{} is no table of exports: it is no file, or has more than {ETAB_MAX} bytes", .0.display())]
    NoTable(PathBuf),
    /// exportfs has failed.
    #[error(transparent)]
    Exportfs(#[from] mounts::Error),
    /// What is to be unexported is not exported.
    #[error("{0} is not exported; exportfs -v says what is")]
    NotExported(String),
    /// It is exported again and again, or flushed all the time.
    #[error("the kernel does not forget the export of {}; is somebody exporting it again?", .0.display())]
    StillKnown(PathBuf),
}

/// This is no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no export: write CLIENT:/PATH, as in '*:/srv/ha' or '[2001:db8::]/32:/srv/ha'")]
pub struct NoSpec(pub String);

/// A path that is exported to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// To whom: a host, a network, a netgroup or a pattern; see exports(5).
    pub client: String,
    /// Absolute.
    pub path: PathBuf,
    /// As in exports(5), without parentheses; may be empty.
    pub options: String,
}

/// Can this be a client? It is given to exportfs as a part of one word, in which brackets at the beginning and
/// a colon are those of IPv6.
fn is_client(client: &str) -> bool {
    let graphic = |c: char| c.is_ascii_graphic() && !"()\\\"".contains(c);
    !client.is_empty()
        && !client.starts_with(['-', '['])
        && client.chars().all(graphic)
        && (!client.contains(':') || is_ipv6(client))
}

/// Is this an address of IPv6, perhaps with its device, or a network?
fn is_ipv6(client: &str) -> bool {
    let (address, length) = client.split_once('/').unwrap_or((client, "0"));
    let (address, device) = address.split_once('%').unwrap_or((address, "lo"));
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let name = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !word.is_empty() && word.chars().all(plain)
    };
    address.parse::<Ipv6Addr>().is_ok() && name(device) && digits(length)
}

/// Can these be options? They are given to exportfs as one word.
fn are_options(options: &str) -> bool {
    options
        .chars()
        .all(|c| c.is_ascii_graphic() && !"()\\\"".contains(c))
}

impl Export {
    /// Reads a line of etab (`putexportent()` in nfs-utils, support/nfs/exports.c); `None` if it is none.
    fn parse(line: &[u8]) -> Option<Self> {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let path = PathBuf::from(OsString::from_vec(unescape(&line[..tab])));
        let rest = std::str::from_utf8(&line[tab + 1..]).ok()?;
        let (client, options) = rest.split_once('(')?;
        let options = options.trim_end().strip_suffix(')')?;
        let known = path.is_absolute() && is_client(client) && are_options(options);
        known.then(|| Self {
            client: client.to_owned(),
            path,
            options: options.to_owned(),
        })
    }

    /// As exportfs wants it: `CLIENT:PATH`, where an address of IPv6 is in brackets.
    pub fn spec(&self) -> OsString {
        let mut spec = match self.client.split_once('/') {
            _ if !self.client.contains(':') => format!("{}:", self.client),
            Some((address, length)) => format!("[{address}]/{length}:"),
            None => format!("[{}]:", self.client),
        };
        // Not always UTF-8.
        let mut bytes = std::mem::take(&mut spec).into_bytes();
        bytes.extend(self.path.as_os_str().as_bytes());
        OsString::from_vec(bytes)
    }

    /// Is this the same path, exported to the same client?
    pub fn is_same(&self, other: &Self) -> bool {
        self.client == other.client && self.path == other.path
    }

    /// The value of an option, as in `fsid=1234`; the last one counts.
    pub fn option(&self, name: &str) -> Option<&str> {
        let values = self
            .options
            .split(',')
            .filter_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        values.last()
    }

    /// The export's fsid, if an option gives one.
    pub fn fsid(&self) -> Option<Fsid> {
        let value = self.option("fsid")?;
        if value == "root" {
            return Some(Fsid::Number(0));
        }
        // exportfs takes octal and hexadecimal numbers, and writes one above 2^31 as a negative one.
        let number = match (value.strip_prefix("0x"), value.strip_prefix('0')) {
            (Some(digits), _) => i64::from_str_radix(digits, 16).ok(),
            (_, Some(digits)) if !digits.is_empty() && value.len() < 12 => {
                i64::from_str_radix(digits, 8).ok()
            }
            _ => value.parse().ok(),
        };
        let wrapped = number.filter(|number| (-(1 << 31)..1 << 32).contains(number));
        match wrapped {
            Some(number) => Some(Fsid::Number(number as u32)),
            // With or without dashes, or with colons.
            None => value.replace(':', "").parse().ok(),
        }
    }
}

/// `CLIENT:PATH(OPTIONS)`: as exportfs would take the former.
impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mounts::shown(&self.spec()))?;
        if self.options.is_empty() {
            return Ok(());
        }
        write!(f, "({})", self.options)
    }
}

/// `CLIENT:PATH`, with or without `(OPTIONS)`. The client may be left out: everybody.
impl FromStr for Export {
    type Err = NoSpec;

    fn from_str(text: &str) -> Result<Self, NoSpec> {
        let parse = || {
            let (spec, options) = match text.strip_suffix(')') {
                Some(text) => text.rsplit_once('(')?,
                None => (text, ""),
            };
            let (client, path) = match spec.strip_prefix('[') {
                // [ADDRESS]:PATH, [ADDRESS]/LENGTH:PATH
                Some(rest) => {
                    let (address, rest) = rest.split_once(']')?;
                    let (length, path) = rest.split_once(':')?;
                    let network = length.is_empty() || length.starts_with('/');
                    let client = format!("{address}{length}");
                    (
                        Some(client).filter(|client| network && is_ipv6(client))?,
                        path,
                    )
                }
                None => spec
                    .split_once(':')
                    .map(|(client, path)| (client.to_owned(), path))?,
            };
            let client = if client.is_empty() {
                "*".to_owned()
            } else {
                client
            };
            let known = path.starts_with('/') && is_client(&client) && are_options(options);
            known.then(|| Self {
                client,
                path: path.into(),
                options: options.to_owned(),
            })
        };
        parse().ok_or_else(|| NoSpec(text.to_owned()))
    }
}

/// Reads a table of exports. Lines that are none are left out.
pub fn read(path: &Path) -> Result<Vec<Export>, Error> {
    let unread = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    // O_NONBLOCK: it could be a pipe.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let file = match file {
        // Nothing was ever exported.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(unread)?,
    };
    let mut text = Vec::new();
    let regular = file.metadata().map_err(unread)?.is_file();
    if !regular
        || file
            .take(ETAB_MAX + 1)
            .read_to_end(&mut text)
            .map_err(unread)? as u64
            > ETAB_MAX
    {
        return Err(Error::NoTable(path.to_owned()));
    }
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(Export::parse)
        .collect())
}

/// Those of a file system, by whatever mount of it: its own, and bind mounts.
pub fn on<'a>(
    exports: &'a [Export],
    mounts: &'a Mounts,
    device: (u32, u32),
) -> impl Iterator<Item = &'a Export> {
    exports
        .iter()
        .filter(move |export| mounts.is_on(&export.path, device))
}

/// Exports something, with exactly these options, whatever /etc/exports says.
pub fn export(exports: &[Export]) -> Result<(), Error> {
    let mut left: Vec<&Export> = exports.iter().collect();
    while let Some(first) = left.first() {
        let options = first.options.clone();
        // One process for all that have the same options.
        let (now, later): (Vec<&Export>, _) = left
            .into_iter()
            .partition(|export| export.options == options);
        let mut command = Command::new("exportfs");
        command.arg("-i");
        if !options.is_empty() {
            command.args(["-o", &options]);
        }
        run_exportfs(&mut command, now.iter().map(|export| export.spec()))?;
        left = later;
    }
    Ok(())
}

/// Exports what /etc/exports and /etc/exports.d have, and leaves alone what was exported besides.
pub fn export_all() -> Result<(), Error> {
    run_exportfs(Command::new("exportfs").arg("-a"), std::iter::empty())
}

/// Exports something no more. The kernel may know it for a moment, see [`caches::forget`].
pub fn unexport(exports: &[Export]) -> Result<(), Error> {
    if exports.is_empty() {
        return Ok(());
    }
    run_exportfs(
        Command::new("exportfs").arg("-u"),
        exports.iter().map(Export::spec),
    )
}

fn run_exportfs(command: &mut Command, specs: impl Iterator<Item = OsString>) -> Result<(), Error> {
    let mut specs = specs.peekable();
    if specs.peek().is_some() {
        command.arg("--").args(specs);
    }
    mounts::run(command)?;
    Ok(())
}

/// What a list has for an export: `CLIENT:PATH(OPTIONS)` as one word, whose odd bytes are `\ooo`.
pub fn word(export: &Export) -> String {
    let mut bytes = export.spec().into_vec();
    bytes.extend(format!("({})", export.options).bytes());
    escape(&bytes)
}

/// Reads what [`word`] has written.
pub fn from_word(word: &str) -> Result<Export, NoSpec> {
    let none = || NoSpec(word.to_owned());
    let bytes = unescape(word.as_bytes());
    // The path may be any bytes; what is around it is ASCII.
    let open = bytes
        .iter()
        .rposition(|byte| *byte == b'(')
        .ok_or_else(none)?;
    let path = bytes
        .windows(2)
        .position(|pair| pair == b":/")
        .ok_or_else(none)?
        + 1;
    if path > open {
        return Err(none());
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| none());
    let around = format!("{}/{}", text(&bytes[..path])?, text(&bytes[open..])?);
    let mut export: Export = around.parse().map_err(|_| none())?;
    export.path = PathBuf::from(OsStr::from_bytes(&bytes[path..open]));
    Ok(export)
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
