// SPDX-License-Identifier: GPL-2.0
//! What is wrong on this node before it matters.
//!
//! A check looks at one thing, and returns a [`Finding`] for each fault. It reads files below the
//! root of a [`Tree`], so that a test can make up a machine, and changes nothing. One that cannot
//! read what it needs says that as a finding, too.
//!
//! ```text
//!   addresses  reexport  nlm  tracking  server  module      the checks, by theme
//!        │        │ │     │      │        │       │
//!      exports ───┘ │ ────┘      │        │       │
//!        │          │            │        │       │
//!    pacemaker   handles,      conf, processes    │
//!        │       mountstats      │                │
//!   exports_file, units ─────────┼────────────────┘
//!        └──────────────────── tree                         what they read
//! ```

mod addresses;
mod conf;
mod exports;
mod exports_file;
mod handles;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod module;
mod mountstats;
mod nlm;
mod pacemaker;
mod processes;
mod reexport;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tracking;
mod tree;
mod units;

pub(crate) use processes::writes;
pub use tree::{Tree, Unreadable};

use crate::control::{self, Control, NlmClients, Tracking};
use crate::exports as exported;
use crate::list::List;
use crate::mounts::Mounts;
use crate::scope::Fsid;
use serde::Serialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients will lose locks or opens at the next move or restart.
    Error,
    /// Some clients may, or a move will fail or take long.
    Warning,
    /// To know.
    Note,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name for this fault, which stays the same.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// Why it matters, in one sentence.
    pub why: &'static str,
    /// What to do: a line for a shell, with a comment where a person has to think.
    pub fix: String,
}

impl Finding {
    fn new(
        id: &'static str,
        severity: Severity,
        what: impl Into<String>,
        why: &'static str,
    ) -> Self {
        let (what, fix) = (what.into(), String::new());
        Self {
            id,
            severity,
            what,
            why,
            fix,
        }
    }

    fn error(id: &'static str, what: impl Into<String>, why: &'static str) -> Self {
        Self::new(id, Severity::Error, what, why)
    }

    fn warning(id: &'static str, what: impl Into<String>, why: &'static str) -> Self {
        Self::new(id, Severity::Warning, what, why)
    }

    fn note(id: &'static str, what: impl Into<String>, why: &'static str) -> Self {
        Self::new(id, Severity::Note, what, why)
    }

    /// With what to do.
    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the machine's files are.
    pub tree: Tree,
    /// The addresses of this machine.
    pub local: Vec<IpAddr>,
    /// The floating addresses that the admin means to use; none if that was not said.
    pub floating: Vec<IpAddr>,
    /// What the admin means to move; none if that was not said.
    pub moving: Vec<Moving>,
    /// What a list says of the node that wrote it.
    pub list: Option<Theirs>,
}

/// Something that moves between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moving {
    /// An export, or all of a device.
    Fsid(Fsid),
    /// What is exported at a path or below it.
    Path(PathBuf),
}

/// What a list says of the node that wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// The server scope.
    pub server_scope: Option<String>,
    /// The exports, each with what is known of it.
    pub exports: Vec<(Option<Fsid>, Option<PathBuf>)>,
}

impl Theirs {
    /// What a list says, with the notes `export` and `path` that move-out writes.
    pub fn of(list: &List) -> Self {
        let notes = |name| {
            list.notes
                .iter()
                .filter(move |(other, _)| other == name)
                .map(|(_, text)| text)
        };
        let exported = notes("export").filter_map(|word| exported::from_word(word).ok());
        let mut exports: Vec<_> = exported
            .map(|export| (export.fsid(), Some(export.path)))
            .collect();
        if let Some(fsid) = list.scope.and_then(|scope| scope.fsid()) {
            exports.push((Some(fsid), None));
        }
        Self {
            server_scope: list.server_scope.clone(),
            exports,
        }
    }
}

impl Node {
    /// What a control file says, nothing while the module is not there.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Control) -> Result<T, control::Error>,
    ) -> Result<Option<T>, Unreadable> {
        let answer =
            Control::at(self.tree.at("/proc/fs/nfsd")).and_then(|control| question(&control));
        match answer {
            Err(control::Error::Absent { .. }) => Ok(None),
            answer => Ok(Some(answer?)),
        }
    }

    fn tracking(&self) -> Result<Option<Tracking>, Unreadable> {
        self.ask(Control::tracking)
    }

    fn nlm_clients(&self) -> Result<Option<NlmClients>, Unreadable> {
        self.ask(Control::nlm_clients)
    }

    fn floating_addresses(&self) -> Result<Option<Vec<IpAddr>>, Unreadable> {
        self.ask(Control::floating_addresses)
    }

    fn mounts(&self) -> Result<Mounts, Unreadable> {
        let text = self.tree.text("/proc/self/mountinfo")?.unwrap_or_default();
        Ok(Mounts::parse(text.as_bytes())?)
    }
}

/// Looks at one thing.
type Check = fn(&Node) -> Result<Vec<Finding>, Unreadable>;

const CHECKS: &[Check] = &[
    module::loaded,
    module::in_force,
    module::at_boot,
    server::scope,
    server::grace,
    server::nfs3,
    tracking::state,
    tracking::daemons,
    tracking::unstored,
    tracking::journal,
    exports::root,
    exports::numbers,
    exports::unnamed,
    exports::as_listed,
    exports::at_boot,
    exports::flushed,
    addresses::floating,
    addresses::elsewhere,
    addresses::drained,
    addresses::own_mounts,
    nlm::port,
    nlm::recorded,
    nlm::unstored,
    nlm::records,
    nlm::nonlocal_bind,
    pacemaker::unlocks,
    reexport::off,
    reexport::version,
    reexport::unnamed,
    reexport::handle,
    reexport::lease,
    reexport::original,
    reexport::local,
    reexport::refused,
];

/// All that is wrong, the worst first.
pub fn all(node: &Node) -> Vec<Finding> {
    let mut found: Vec<_> = CHECKS
        .iter()
        .flat_map(|check| check(node).unwrap_or_else(|e| vec![unreadable(&e)]))
        .collect();
    found.sort_by_key(|finding| finding.severity);
    found.dedup();
    found
}

fn unreadable(error: &Unreadable) -> Finding {
    Finding::error(
        "unreadable",
        error.to_string(),
        "What it says is not checked.",
    )
    .fix("sudo nfsd-ha check  # as root, or mend the file")
}

/// A path in words for people: one that others chose may have any bytes.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// A word of a command for a shell, which an admin may copy: quoted, if it is not a plain one. What
/// a terminal would do something with is left out.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:@%+=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let visible = text.chars().filter(|c| !c.is_control()).collect::<String>();
    format!("'{}'", visible.replace('\'', "'\\''"))
}
