// SPDX-License-Identifier: GPL-2.0
//! The files of the module in `/proc/fs/nfsd`, and nfsd's own that belong to them.
//!
//! A command is written in one go, and its answer is what the *same* open file says then
//! (`rust/base/fsfile.rs`), so each command has an open file of its own. A command has a page at most.
//! All of it is for root: the files can be opened by root only, and a write needs CAP_SYS_ADMIN.

mod drain;
mod error;
mod grace;
mod nfs4_clients;
mod nlm_clients;
mod reclaim_clients;
mod recorder;
mod released;
mod tracking;

pub use drain::{Drain, DrainState, Then, MAX_SECONDS as MAX_DRAIN_SECONDS};
pub use error::{Error, Refusal};
pub use grace::Grace;
pub use nfs4_clients::Nfs4Client;
pub use nlm_clients::{NlmClient, NlmClients, NlmPeer};
pub use reclaim_clients::{Listed, Progress, Reclaimer, Who};
pub use recorder::Recorder;
pub use released::Released;
pub use tracking::Tracking;

use crate::owner::Owner;
use crate::scope::Scope;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where nfsd's file system is mounted.
const DIRECTORY: &str = "/proc/fs/nfsd";
/// The environment variable that names another directory, for tests.
const VARIABLE: &str = "NFSD_HA_CONTROL";
/// The longest command, in bytes: less than a page.
const COMMAND_MAX: usize = 4000;

/// The control files of the module, in nfsd's file system.
#[derive(Clone, Debug)]
pub struct Control {
    directory: PathBuf,
}

impl Control {
    /// Those of `/proc/fs/nfsd`, or of `NFSD_HA_CONTROL`.
    ///
    /// Fails with [`Error::Absent`] if the module is not loaded, or nfsd's file system not mounted.
    pub fn open() -> Result<Self, Error> {
        let directory = std::env::var_os(VARIABLE).unwrap_or_else(|| DIRECTORY.into());
        Self::at(directory)
    }

    /// Those of a directory. Fails as [`Control::open`] does.
    pub fn at(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let control = Self {
            directory: directory.into(),
        };
        let file = control.path("reclaim_clients");
        match file.symlink_metadata() {
            Ok(_) => Ok(control),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(Error::Absent { file })
            }
            Err(source) => Err(Error::Open { file, source }),
        }
    }

    /// Where a file is, such as `nlm_clients`, for who has to keep it open.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What a file shows.
    pub fn read(&self, name: &str) -> Result<String, Error> {
        let file = self.path(name);
        let text = match fs::read(&file) {
            Ok(bytes) => String::from_utf8(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::Absent { file }),
            Err(source) => return Err(Error::Open { file, source }),
        };
        text.map_err(|_| Error::Malformed {
            file,
            line: "bytes that are no text".to_owned(),
        })
    }

    /// Writes a command, and reads its answer.
    pub fn tell(&self, name: &str, command: &str) -> Result<String, Error> {
        let file = self.path(name);
        let opened = OpenOptions::new().read(true).write(true).open(&file);
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::Absent { file }),
            Err(source) => return Err(Error::Open { file, source }),
        };
        let written = opened.write(format!("{command}\n").as_bytes());
        // After EBUSY the answer says what is in the way.
        let answer = answer_of(&mut opened, &file);
        match written {
            Ok(_) => answer,
            Err(e) => Err(Error::Refused {
                file,
                refusal: Refusal::of(&e),
                answer: answer.unwrap_or_default(),
                source: e,
            }),
        }
    }

    /// `client_tracking`: client tracking, its daemon, and the server's scope.
    pub fn tracking(&self) -> Result<Tracking, Error> {
        self.parse("client_tracking", Tracking::parse)
    }

    /// `floating_addresses`: the addresses that move between servers.
    pub fn floating_addresses(&self) -> Result<Vec<IpAddr>, Error> {
        self.parse("floating_addresses", |text| {
            each_line(text, |line| line.parse().ok())
        })
    }

    /// Says that an address moves between servers.
    pub fn add_floating_address(&self, address: IpAddr) -> Result<(), Error> {
        let address = address.to_canonical();
        self.tell("floating_addresses", &address.to_string())
            .map(drop)
    }

    /// Takes that back.
    pub fn remove_floating_address(&self, address: IpAddr) -> Result<(), Error> {
        let address = address.to_canonical();
        self.tell("floating_addresses", &format!("-{address}"))
            .map(drop)
    }

    /// `fsid_grace`: the scopes in grace.
    pub fn graces(&self) -> Result<Vec<Grace>, Error> {
        self.parse("fsid_grace", |text| each_line(text, Grace::parse))
    }

    /// Begins or extends a scope's grace period: 1 to 3600 s, or as long as the server's own.
    pub fn begin_grace(&self, scope: &Scope, seconds: Option<u32>) -> Result<Option<Grace>, Error> {
        let command = match seconds {
            Some(seconds) => format!("{scope} {seconds}"),
            None => scope.to_string(),
        };
        let answer = self.tell("fsid_grace", &command)?;
        let graces = self.parsed("fsid_grace", &answer, |text| each_line(text, Grace::parse))?;
        Ok(graces.into_iter().next())
    }

    /// Ends a scope's grace period, if there is one.
    pub fn end_grace(&self, scope: &Scope) -> Result<(), Error> {
        self.tell("fsid_grace", &format!("{scope} 0")).map(drop)
    }

    /// Nobody but those who are listed is expected in a scope: its grace period ends when they have
    /// finished. Fails with [`Refusal::NotInGrace`].
    pub fn expect_nobody_else(&self, scope: &Scope) -> Result<(), Error> {
        self.tell("fsid_grace", &format!("{scope} listed"))
            .map(drop)
    }

    /// `reclaim_clients`: who may reclaim in the scopes in grace.
    pub fn listed(&self) -> Result<Vec<Listed>, Error> {
        self.parse("reclaim_clients", |text| each_line(text, Listed::parse))
    }

    /// Lets clients reclaim in a scope that is in grace, as many in a command as fit.
    ///
    /// Fails with [`Refusal::NotInGrace`]; some are listed then.
    pub fn list<'a>(
        &self,
        scope: &Scope,
        clients: impl IntoIterator<Item = &'a Reclaimer>,
    ) -> Result<(), Error> {
        let mut command = String::new();
        for client in clients {
            let line = format!("{scope} {client}\n");
            if command.len() + line.len() > COMMAND_MAX && !command.is_empty() {
                self.tell("reclaim_clients", command.trim_end())?;
                command.clear();
            }
            command.push_str(&line);
        }
        if command.is_empty() {
            return Ok(());
        }
        self.tell("reclaim_clients", command.trim_end()).map(drop)
    }

    /// `nfs4_clients`: what NFSv4 clients hold, a line for each client and export.
    pub fn nfs4_clients(&self) -> Result<Vec<Nfs4Client>, Error> {
        self.parse("nfs4_clients", |text| {
            each_line(text, |line| match line.strip_prefix('#') {
                Some(_) => Some(None),
                None => Nfs4Client::parse(line).map(Some),
            })
            .map(|clients: Vec<_>| clients.into_iter().flatten().collect())
        })
    }

    /// `nlm_clients`: what NLM clients hold, a line for each client, server address and export.
    pub fn nlm_clients(&self) -> Result<NlmClients, Error> {
        self.parse("nlm_clients", NlmClients::parse)
    }

    /// `nlm_unlock`: releases all that clients hold of a scope, or nothing.
    ///
    /// Fails with [`Refusal::Busy`], and the answer says who or what is in the way:
    /// [`Error::in_the_way`].
    pub fn release(&self, scope: &Scope) -> Result<Released, Error> {
        let answer = self.tell("nlm_unlock", &scope.to_string())?;
        self.parsed("nlm_unlock", &answer, Released::parse)
    }

    /// Is the server in a grace period of its own, as far as NFSv4 goes (`v4_end_grace` of nfsd)?
    pub fn in_own_grace(&self) -> Result<bool, Error> {
        Ok(self.read("v4_end_grace")?.trim_end() == "N")
    }

    /// How long a client of NFSv4 may be silent before its state goes (`nfsv4leasetime` of nfsd).
    pub fn lease(&self) -> Result<Duration, Error> {
        self.seconds("nfsv4leasetime")
    }

    /// How long nfsd's own grace period is (`nfsv4gracetime` of nfsd). That of a scope is as long at least, unless somebody
    /// says how long it is to be.
    pub fn grace_time(&self) -> Result<Duration, Error> {
        self.seconds("nfsv4gracetime")
    }

    fn seconds(&self, name: &str) -> Result<Duration, Error> {
        self.parse(name, |text| {
            let seconds = text.trim_end().parse();
            seconds.map(Duration::from_secs).map_err(|_| text.into())
        })
    }

    /// The names of all NFSv4 clients of this server, also of those that hold nothing (`clients/*/info`
    /// of nfsd, which has them in quotes, with `\xHH`). One that goes meanwhile may be missing.
    pub fn own_names(&self) -> Result<Vec<Owner>, Error> {
        let directory = self.path("clients");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::Open {
                    file: directory,
                    source,
                })
            }
        };
        let infos = entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("info")).ok());
        Ok(infos
            .filter_map(|info| nfs4_clients::name_of_info(&info))
            .collect())
    }

    fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        let text = self.read(name)?;
        self.parsed(name, &text, parse)
    }

    fn parsed<T>(
        &self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        parse(text).map_err(|line| Error::Malformed {
            file: self.path(name),
            line,
        })
    }
}

fn answer_of(opened: &mut File, file: &Path) -> Result<String, Error> {
    let mut answer = String::new();
    match opened.read_to_string(&mut answer) {
        Ok(_) => Ok(answer),
        Err(source) => Err(Error::Open {
            file: file.to_owned(),
            source,
        }),
    }
}

/// Parses each line; fails with the first that cannot be.
fn each_line<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    text.lines()
        .map(|line| parse(line).ok_or_else(|| line.to_owned()))
        .collect()
}

/// A number, or nothing where the module writes a dash: it could not count.
fn count(word: &str) -> Option<Option<u64>> {
    match word {
        "-" => Some(None),
        _ => word.parse().ok().map(Some),
    }
}

/// What is written with a dash for nothing.
fn dash<T: std::str::FromStr>(word: &str) -> Option<Option<T>> {
    match word {
        "-" => Some(None),
        _ => word.parse().ok().map(Some),
    }
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
